//! Lists of free ranges, one for each power of two, oldest first.
//!
//! A head is two words that look like the links of a record, so that the lists are rings without
//! special cases.

use crate::kernel::in_order;
use crate::layout::{BIN_COUNT, BINS};
use crate::record::{OLDER, RANK, Record, YOUNGER};
use crate::{Kernel, Memory};

/// The heads as records: only their links exist.
const FIRST_HEAD: Record = BINS - YOUNGER;
/// One more than the last head.
const HEADS_END: Record = FIRST_HEAD + 8 * BIN_COUNT;
/// One more than the ranges of the request's own list that are looked at (C-1).
const LOOKS_MAX: u32 = 64;

const _: () = assert!(OLDER == YOUNGER + 4, "a head is two words");

/// The head of the list for ranges of this size.
fn head(size: u32) -> Record {
    (HEADS_END - 8).wrapping_sub(size.leading_zeros() << 3)
}

impl<M: Memory> Kernel<M> {
    #[inline(never)]
    fn link(&mut self, older: Record, younger: Record) {
        self.set_field(older, YOUNGER, younger);
        self.set_field(younger, OLDER, older);
    }

    /// Adds a free range as the youngest of its list.
    #[inline(never)]
    pub(crate) fn insert(&mut self, record: Record, rank: u32) {
        let head = head(rank);
        let mut older = self.field(head, OLDER);
        if older == 0 {
            older = head;
        }
        self.link(older, record);
        self.link(record, head);
        in_order();
        self.set_field(record, RANK, rank);
    }

    /// Takes a free range out of its list.
    pub(crate) fn remove(&mut self, record: Record) {
        self.link(self.field(record, OLDER), self.field(record, YOUNGER));
    }

    /// The oldest free range of at least `size` bytes in the first list that has one, or 0.
    ///
    /// In the request's own list ranges can be too small; only the oldest are looked at.
    #[inline(never)]
    pub(crate) fn find_free(&self, size: u32) -> Record {
        let mut node = head(size);
        let mut next = node;
        let mut looks = LOOKS_MAX;
        loop {
            node = self.field(node, YOUNGER);
            looks -= 1;
            if node < HEADS_END || looks == 0 {
                // The rest of this list is of no use; in the others the first range fits.
                next += 8;
                if next == HEADS_END {
                    return 0;
                }
                node = next;
                looks = LOOKS_MAX;
            } else if self.field(node, RANK) >= size {
                return node;
            }
        }
    }
}
