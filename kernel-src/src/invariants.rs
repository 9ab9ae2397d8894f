//! A scan of the kernel's whole state, for tests.

use crate::layout::{BASE, FIRST_HANDLE, PAGE_NET};
use crate::memory::{Global, WideGlobal};
use crate::record::{AGE, LENGTH, LINK, NEXT, PLACE, PREV, RANK, RECORD, ROOT, Record, SPARE, Slot};
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

    /// Panics unless every record, link, list and index entry agrees with the others.
    pub fn check_invariants(&self) {
        let anchor = self.anchor();
        if self.get(Global::Table) == 0 {
            return;
        }
        let table = self.get(Global::Table) / RECORD;
        let is_record = |record: Record| {
            record < anchor && self.distance(record) % RECORD == 0 && record > self.next_record()
        };
        assert_eq!(
            (anchor.at() + RECORD) % PAGE_NET,
            0,
            "the table hangs below a whole number of pages"
        );
        assert_ne!(self.get(Global::Ready), 0, "no call was cut");
        assert_eq!(
            self.memory.long(anchor.at(), 0),
            0,
            "what loads fall back on is zero"
        );
        let unused = self.field(anchor, PLACE);
        assert!(
            unused <= self.next_record().at() + RECORD,
            "the blocks end below the table"
        );
        assert!(
            self.next_record().at() + RECORD > self.get(Global::HoleEnd),
            "the table is above the hole"
        );

        let mut free = Vec::new();
        let mut rows = 1;
        let mut place = BASE - 1;
        let mut left = anchor;
        // `reset` leaves the anchor's next record as it was; the first `alloc` enters another.
        let is_empty = self.link(anchor, PREV) == anchor;
        let mut record = if is_empty { anchor } else { self.link(anchor, NEXT) };
        while record != anchor {
            assert!(is_record(record), "a link of the row leads to a record");
            assert_eq!(self.link(record, PREV), left, "the row reads the same backwards");
            assert!(self.field(record, PLACE) > place, "the row is in address order");
            place = self.field(record, PLACE);
            assert_eq!(place % 16, 0);
            let size = self.size(record);
            let length = self.field(record, LENGTH);
            let rank = self.field(record, RANK);
            if length == 0 && rank == 0 {
                assert!(
                    place + size <= self.get(Global::HoleEnd),
                    "it ends with others' pages"
                );
            } else if rank != 0 {
                assert_eq!(self.field(left, RANK), 0, "free neighbours have coalesced");
                assert_eq!(
                    self.child(Slot::new(self.field(record, LINK))),
                    record,
                    "a free range knows where it hangs"
                );
                assert_eq!(
                    self.length(Handle::new(u64::from(place + 16))),
                    0,
                    "a free range has no length"
                );
                assert_eq!(rank & !1, size, "a free range's rank is its size");
                free.push(record);
            } else {
                assert!(length <= size - 16, "a block is as large as its length");
                let handle = Handle::new(u64::from(place + 16));
                assert_eq!(self.find(handle), record, "a live block is found");
                assert_eq!(self.length(handle), u64::from(length));
                assert!(
                    u64::from(place + 16 + length - FIRST_HANDLE)
                        <= self.memory.wide_global(WideGlobal::Span),
                    "the span covers every block"
                );
            }
            rows += 1;
            assert!(rows <= table, "the row ends");
            left = record;
            record = self.link(record, NEXT);
        }
        assert_eq!(self.link(anchor, PREV), left);
        assert!(unused > place, "unused bytes are behind the last range");

        let mut listed = Vec::new();
        self.check_subtree(self.link(anchor, ROOT), u32::MAX, &mut listed);
        free.sort_unstable();
        listed.sort_unstable();
        assert_eq!(free, listed, "the trie holds the free ranges");

        let mut spares = 0;
        let mut spare = self.link(anchor, SPARE);
        while spare != Record::NONE {
            assert!(is_record(spare));
            spares += 1;
            assert!(spares <= table, "the spare records end");
            spare = self.link(spare, PLACE);
        }
        assert_eq!(rows + spares, table, "every record is in the row or spare");
        for word in [WideGlobal::OutputFreed, WideGlobal::ErrorFreed] {
            let handle = Handle::new(self.memory.wide_global(word));
            assert!(
                handle == Handle::NONE || self.length(handle) != 0,
                "a held block lives"
            );
        }
    }

    fn check_subtree(&self, node: Record, age: u32, listed: &mut Vec<Record>) {
        if node != self.anchor() {
            assert!(
                (1..=age).contains(&self.field(node, AGE)),
                "a range is younger than those above it"
            );
            listed.push(node);
            assert!(listed.len() < 1 << 20, "the trie ends");
            for side in [0, 4] {
                self.check_subtree(self.child(node.slot(side)), self.field(node, AGE), listed);
            }
        }
    }
}
