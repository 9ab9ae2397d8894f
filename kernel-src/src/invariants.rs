//! A scan of the kernel's whole state, for tests.

use crate::layout::{
    ANCHOR, BASE, BIN_COUNT, BINS, ERROR_FREED, FIRST_HANDLE, HEAD, HOLE_END, OUTPUT_FREED, PAGE_NET, SPAN,
    SPARE, TABLE,
};
use crate::record::{LENGTH, NEXT, OLDER, PLACE, PREV, RANK, RECORD, Record, YOUNGER};
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The memory, as the host sees it.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory, as the host sees it.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Panics unless every record, link, list and index entry agrees with the others.
    pub fn check_invariants(&self) {
        let head = self.state(HEAD);
        if head == 0 {
            return;
        }
        let table = self.state(TABLE) / RECORD;
        let is_record = |record: Record| {
            record <= head && (head - record) % RECORD == 0 && self.distance(record) < self.state(TABLE)
        };
        assert!(
            (head + RECORD) % PAGE_NET == 0,
            "the head is below a whole number of pages"
        );
        let unused = self.field(ANCHOR, PLACE);
        assert!(
            unused <= self.next_record() + RECORD,
            "the blocks end below the table"
        );
        assert!(
            self.next_record() + RECORD > self.state(HOLE_END),
            "the table is above the hole"
        );

        let mut free = Vec::new();
        let mut rows = 0;
        let mut place = BASE - 1;
        let mut left = ANCHOR;
        let mut record = self.field(ANCHOR, NEXT);
        while record != ANCHOR {
            assert!(is_record(record), "a link of the row leads to a record");
            assert_eq!(self.field(record, PREV), left, "the row reads the same backwards");
            assert!(self.field(record, PLACE) > place, "the row is in address order");
            place = self.field(record, PLACE);
            assert_eq!(place % 16, 0);
            let size = self.size(record);
            let length = self.field(record, LENGTH);
            if length == 0 {
                assert!(
                    left == ANCHOR || self.field(left, LENGTH) != 0,
                    "free neighbours have coalesced"
                );
                // The range before a hole reaches behind it; no block is ever made there.
                let rank = self.field(record, RANK) & !4;
                let has_hole = self.state(HOLE_END) != 0 && rank < size;
                assert!(rank == size || has_hole, "a free range's rank is its size");
                free.push(record);
            } else {
                assert!(length <= size - 16, "a block is as large as its length");
                let handle = u64::from(place + 16);
                assert_eq!(
                    self.find(handle),
                    record,
                    "a live block is found without its hint"
                );
                assert_eq!(self.length(handle), u64::from(length));
                assert!(
                    place + 16 + length - FIRST_HANDLE <= self.state(SPAN),
                    "the span covers every block"
                );
            }
            rows += 1;
            assert!(rows <= table, "the row ends");
            left = record;
            record = self.field(record, NEXT);
        }
        assert_eq!(self.field(ANCHOR, PREV), left);
        assert!(unused > place, "unused bytes are behind the last range");

        let mut listed = Vec::new();
        for bin in 0..BIN_COUNT {
            let list = BINS - YOUNGER + 8 * bin;
            let mut older = list;
            let mut node = self.field(list, YOUNGER);
            while node != list && node != 0 {
                assert_eq!(self.field(node, OLDER), older, "a list reads the same backwards");
                assert_eq!(
                    31 - self.field(node, RANK).leading_zeros(),
                    bin,
                    "a range is in its own list"
                );
                listed.push(node);
                older = node;
                node = self.field(node, YOUNGER);
            }
        }
        free.sort_unstable();
        listed.sort_unstable();
        assert_eq!(free, listed, "the lists hold the free ranges");

        let mut spares = 0;
        let mut spare = self.state(SPARE);
        while spare != 0 {
            assert!(is_record(spare) && self.field(spare, LENGTH) == 0);
            spares += 1;
            assert!(spares <= table, "the spare records end");
            spare = self.field(spare, RANK);
        }
        assert_eq!(rows + spares, table, "every record is in the row or spare");
        for word in [OUTPUT_FREED, ERROR_FREED] {
            let record = self.state(word);
            assert!(
                record == 0 || is_record(record) && self.field(record, LENGTH) != 0,
                "a held block lives"
            );
        }
    }
}
