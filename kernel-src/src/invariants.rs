//! A scan of the kernel's whole state, for tests.

use std::collections::BTreeSet;

use crate::bins::bin_of;
use crate::layout::{BASE, BIN_COUNT, BINS, BITMAP, FIRST_HANDLE, HEADER, PAGE_BYTES, RECORD, TAIL};
use crate::memory::{Global, WideGlobal};
use crate::record::{LENGTH, Link, MARK, NEXT, OLDER, PLACE, PREV, Record, YOUNGER};
use crate::{Handle, Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The memory, as the host sees it.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory, as the host sees it.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Panics unless every record, link, bin and global agrees with the others.
    ///
    /// It holds between calls, once `alloc` or `reset` was called and while no call was cut.
    pub fn check_invariants(&self) {
        let table = self.memory.get(Global::Table);
        if table == 0 {
            return;
        }
        let head = self.head();
        assert_eq!(table % RECORD, 0, "the table has whole records");
        assert_eq!(head.wrapping_add(TAIL) % PAGE_BYTES, 0, "the kernel owns whole pages");
        assert_ne!(self.memory.get(Global::Ready), 0, "no call was cut");
        for at in 0..RECORD {
            assert_eq!(self.memory.byte(head, at), 0, "the anchor is all zeros");
        }

        let (span, whole) = (self.memory.wide(WideGlobal::Span), self.memory.wide(WideGlobal::Whole));
        assert_eq!(whole, span.saturating_sub(7), "eight bytes begin at all but the last seven");

        let mut seen = BTreeSet::new();
        let free = self.check_row(&mut seen);
        assert_eq!(free, self.check_bins(free.len()), "the bins hold the free ranges");
        let mut spare = self.memory.get(Global::Spare);
        while spare != 0 {
            assert!(seen.insert(spare), "the spare records end, and are in no row");
            assert_eq!(self.field(Record::new(head, spare), PLACE), 0);
            spare = self.field(Record::new(head, spare), NEXT);
        }
        let all: BTreeSet<Link> = (RECORD..=table).step_by(RECORD as usize).collect();
        assert_eq!(seen, all, "every record is in the row or spare");
        self.check_unused();
    }

    /// Follows the row back from the last record. Returns the free ranges.
    fn check_row(&self, seen: &mut BTreeSet<Link>) -> BTreeSet<Link> {
        let head = self.head();
        let mut free = BTreeSet::new();
        let mut link = self.memory.get(Global::Table);
        let mut right_mark = 0;
        seen.insert(link);
        assert_eq!(self.field(self.last(), PLACE) & MARK, 0, "the last record is no range");
        loop {
            let right = Record::new(head, link);
            let end = self.field(right, PLACE) & !MARK;
            link = self.field(right, PREV);
            if link == 0 {
                assert_eq!(end, BASE + HEADER, "the row begins at the first handle");
                return free;
            }
            assert!(seen.insert(link), "no record is in the row twice");
            let record = Record::new(head, link);
            assert_eq!(self.field(record, NEXT), right.link(head), "the row reads the same backwards");
            let mark = self.field(record, PLACE) & MARK;
            let place = self.field(record, PLACE) - mark;
            assert!(place < end, "the row is in address order");
            assert_eq!(place % 16, 0, "a place is a multiple of 16");
            if mark != 0 {
                assert_eq!(right_mark, 0, "free neighbours have become one");
                assert_eq!(self.find(Handle(place.into())), self.none(), "a free range is no block");
                free.insert(link);
            } else if self.field(record, LENGTH) == 0 {
                assert_eq!(end % PAGE_BYTES, HEADER, "it ends with others' pages");
                assert!(end <= self.memory.get(Global::HoleEnd) + HEADER);
            } else {
                let length = self.field(record, LENGTH);
                assert!(u64::from(place) + u64::from(length) <= u64::from(end - HEADER), "a block has room");
                let found = self.find(Handle(place.into()));
                assert!(found == record || found == self.none(), "a handle is found, or dead");
                let span = self.memory.wide(WideGlobal::Span);
                assert!(u64::from(place + length - FIRST_HANDLE) <= span, "the span covers every block");
            }
            right_mark = mark;
        }
    }

    /// Follows each bin in both directions. Returns what is in them.
    fn check_bins(&self, count: usize) -> BTreeSet<Link> {
        let head = self.head();
        let mut all = BTreeSet::new();
        for number in 0..128 {
            let bits = self.memory.long(head - number / 64 * 8, BITMAP);
            if bits >> (number % 64) & 1 == 0 {
                continue;
            }
            assert!(number < BIN_COUNT, "the bin exists");
            let bin = Record::new(head, OLDER.wrapping_sub(BINS + 8 * number));
            let mut older = bin;
            loop {
                let record = Record::new(head, self.field(older, YOUNGER));
                assert_eq!(self.field(record, OLDER), older.link(head), "the bin reads the same backwards");
                if record == bin {
                    break;
                }
                assert_eq!(bin_of(self.size(record)), number, "a range is in the bin of its size");
                assert!(all.insert(record.link(head)), "a range is in one bin, once");
                assert!(all.len() <= count, "the bins hold no more than the free ranges");
                older = record;
            }
            assert_ne!(older, bin, "a bin with a bit holds a range");
        }
        all
    }

    /// The bytes and records that the next blocks get without any preparation.
    fn check_unused(&self) {
        let place = self.field(self.last(), PLACE);
        let hole = self.memory.get(Global::HoleStart)..self.memory.get(Global::HoleEnd);
        assert!(place <= self.last().0, "the blocks end below the table");
        assert!(hole.end <= self.last().0, "the table is above others' pages");
        let ready = self.memory.get(Global::Ready);
        if ready > place {
            assert!(!(hole.contains(&ready.wrapping_sub(1)) || place < hole.end && ready > hole.start));
            let records = (ready - place) / (2 * HEADER) * RECORD;
            assert!(
                self.last().0 >= ready.max(hole.end) + records + RECORD,
                "what is ready has room for its records"
            );
        }
    }

    /// Panics unless the bytes that the next blocks get are clean. A host that writes beyond blocks can break this.
    pub fn check_unused_bytes(&self) {
        if self.memory.get(Global::Table) == 0 {
            return;
        }
        let place = self.field(self.last(), PLACE);
        let hole = self.memory.get(Global::HoleStart)..self.memory.get(Global::HoleEnd);
        let is_clean = |at| hole.contains(&at) || self.memory.byte(at, 0) == 0;
        let mut ready = place..self.memory.get(Global::Ready);
        assert!(ready.all(is_clean), "what is ready is clean");
        let end = self.memory.get(Global::Dirty).min(self.last().0 - RECORD);
        let mut unused = place.max(self.memory.get(Global::Used))..end;
        assert!(unused.all(is_clean), "what was never used is clean");
    }

    fn none(&self) -> Record {
        Record::new(self.head(), 0)
    }
}
