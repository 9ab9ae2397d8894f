//! Digital search trees inside the table: free ranges by size, split-off live blocks by place.
//!
//! A node holds a rank of its own; its subtrees hold the ranks that continue with a 0 or a 1 bit
//! (highest bit first). So a path has at most 33 nodes, whatever the order of insertion, and nothing
//! is ever rotated. Ranks that are equal share one node and form a ring, oldest first.

use crate::record::{Field, HIGH, LOW, OLDER, RANK, Ref, UP, YOUNGER};
use crate::{Kernel, Memory};

/// One node for each of the 32 bits, and the root.
const DEPTH_MAX: u32 = 33;

impl<M: Memory> Kernel<M> {
    #[inline(always)]
    fn slot(&self, slot: Ref) -> u32 {
        self.memory.word(self.top().wrapping_sub(slot))
    }

    #[inline(always)]
    fn set_slot(&mut self, slot: Ref, value: Ref) {
        self.memory.set_word(self.top().wrapping_sub(slot), value);
    }

    /// Adds a record to the tree whose root is the anchor's field `root`.
    pub(crate) fn insert(&mut self, root: Field, record: Ref, rank: u32) {
        self.set_field(record, RANK, rank);
        let mut slot = root.wrapping_neg();
        let mut bits = rank;
        for _ in 0..DEPTH_MAX {
            let node = self.slot(slot);
            if node == 0 {
                self.set_field(record, LOW, 0);
                self.set_field(record, HIGH, 0);
                self.set_field(record, UP, slot);
                self.set_field(record, YOUNGER, record);
                self.set_field(record, OLDER, record);
                self.set_slot(slot, record);
                return;
            }
            if self.field(node, RANK) == rank {
                let youngest = self.field(node, OLDER);
                self.set_field(record, UP, 0);
                self.set_field(record, YOUNGER, node);
                self.set_field(record, OLDER, youngest);
                self.set_field(youngest, YOUNGER, record);
                self.set_field(node, OLDER, record);
                return;
            }
            slot = node.wrapping_sub(LOW + (bits >> 31) * (HIGH - LOW));
            bits <<= 1;
        }
    }

    /// Takes a record out of its tree.
    pub(crate) fn remove(&mut self, record: Ref) {
        let younger = self.field(record, YOUNGER);
        let older = self.field(record, OLDER);
        self.set_field(younger, OLDER, older);
        self.set_field(older, YOUNGER, younger);
        let up = self.field(record, UP);
        if up == 0 {
            return;
        }
        let mut heir = younger;
        if heir == record {
            for _ in 0..DEPTH_MAX {
                let mut child = self.field(heir, HIGH);
                if child == 0 {
                    child = self.field(heir, LOW);
                }
                if child == 0 {
                    break;
                }
                heir = child;
            }
            self.set_slot(self.field(heir, UP), 0);
            if heir == record {
                return;
            }
        }
        self.set_field(heir, UP, up);
        self.set_slot(up, heir);
        for side in [LOW, HIGH] {
            let child = self.field(record, side);
            self.set_field(heir, side, child);
            if child != 0 {
                self.set_field(child, UP, heir.wrapping_sub(side));
            }
        }
    }

    /// The oldest of the smallest free ranges of at least `size` bytes, or 0.
    pub(crate) fn best_fit(&self, size: u32) -> Ref {
        let mut best = 0;
        let mut best_rank = u32::MAX;
        let mut node = self.field(0, LOW);
        let mut larger = 0;
        let mut bits = size;
        for _ in 0..2 * DEPTH_MAX {
            if node == 0 {
                // What is left to see are the larger ranges nearest to the path; their smallest is
                // on the path that keeps left.
                node = larger;
                if node == 0 {
                    break;
                }
                larger = 0;
                bits = 0;
            }
            let rank = self.field(node, RANK);
            if rank >= size && rank < best_rank {
                best = node;
                best_rank = rank;
            }
            let high = self.field(node, HIGH);
            if bits >> 31 == 0 {
                larger = if high == 0 { larger } else { high };
                node = self.field(node, LOW);
            } else {
                node = high;
            }
            bits <<= 1;
        }
        best
    }
}
