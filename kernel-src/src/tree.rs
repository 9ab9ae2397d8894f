//! Digital search trees inside the table: free ranges by size, split-off live blocks by place.
//!
//! A node holds a rank of its own; its subtrees hold the ranks that continue with a 0 or a 1 bit
//! (highest bit first). So a path has at most 33 nodes, whatever the order of insertion, and nothing
//! is ever rotated. Ranks that are equal share one node and form a ring, oldest first.

use crate::record::{HIGH, LOW, OLDER, RANK, Record, UP, YOUNGER};
use crate::{Kernel, Memory};

/// One node for each of the 32 bits, and the root. The loops count: they end on any data.
pub(crate) const DEPTH_MAX: u32 = 33;

/// From a node to the slot of its child for the highest of the bits.
pub(crate) fn child_slot(node: Record, bits: u32) -> u32 {
    node.wrapping_add(bits >> 31 << 2)
}

const _: () = assert!(HIGH == LOW + 4, "a bit selects the child");

impl<M: Memory> Kernel<M> {
    /// Adds a record to the tree whose root is the word at `slot`.
    #[inline(never)]
    pub(crate) fn insert(&mut self, mut slot: u32, record: Record, rank: u32) {
        self.set_field(record, RANK, rank);
        self.set_field(record, LOW, 0);
        self.set_field(record, HIGH, 0);
        let mut older = record;
        let mut younger = record;
        let mut bits = rank;
        for _ in 0..DEPTH_MAX {
            let node = self.state(slot);
            if node == 0 {
                self.set_state(slot, record);
                break;
            }
            if self.field(node, RANK) == rank {
                slot = 0;
                younger = node;
                older = self.field(node, OLDER);
                self.set_field(older, YOUNGER, record);
                self.set_field(node, OLDER, record);
                break;
            }
            slot = child_slot(node, bits).wrapping_add(LOW);
            bits <<= 1;
        }
        self.set_field(record, UP, slot);
        self.set_field(record, YOUNGER, younger);
        self.set_field(record, OLDER, older);
    }

    /// Takes a record out of its tree.
    #[inline(never)]
    pub(crate) fn remove(&mut self, record: Record) {
        let mut heir = self.field(record, YOUNGER);
        let older = self.field(record, OLDER);
        self.set_field(heir, OLDER, older);
        self.set_field(older, YOUNGER, heir);
        let up = self.field(record, UP);
        if up == 0 {
            return;
        }
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
            self.set_state(self.field(heir, UP), 0);
            if heir == record {
                return;
            }
        }
        self.set_field(heir, UP, up);
        self.set_state(up, heir);
        self.adopt(heir, record, LOW);
        self.adopt(heir, record, HIGH);
    }

    /// Gives one child of `record` to `heir`.
    fn adopt(&mut self, heir: Record, record: Record, side: u32) {
        let child = self.state(record.wrapping_add(side));
        let slot = heir.wrapping_add(side);
        self.set_state(slot, child);
        if child != 0 {
            self.set_field(child, UP, slot);
        }
    }

    /// The oldest of the smallest free ranges of at least `size` bytes, or 0.
    pub(crate) fn best_fit(&self, size: u32) -> Record {
        let mut best = 0;
        let mut best_rank = u32::MAX;
        let mut node = self.field(crate::layout::ANCHOR, LOW);
        let mut larger = 0;
        let mut bits = size;
        for _ in 0..2 * DEPTH_MAX {
            if node == 0 {
                // What is left to see are the larger ranges nearest to the path; their smallest is
                // on the path that keeps left.
                if larger == 0 {
                    break;
                }
                node = larger;
                larger = 0;
                bits = 0;
            }
            let rank = self.field(node, RANK);
            if rank >= size && rank < best_rank {
                best = node;
                best_rank = rank;
            }
            let high = self.field(node, HIGH);
            node = self.field(child_slot(node, bits), LOW);
            if bits >> 31 == 0 && high != 0 {
                larger = high;
            }
            bits <<= 1;
        }
        best
    }
}
