//! Digital search trees inside the table: free ranges by size, split-off live blocks by place.
//!
//! A node holds a rank of its own; its subtrees hold the ranks that continue with a 0 or a 1 bit
//! (highest bit first). So a path has at most 33 nodes, whatever the order of insertion, and nothing
//! is ever rotated. Ranks that are equal share one node and form a ring, oldest first.

use crate::kernel::in_order;
use crate::layout::ANCHOR;
use crate::record::{HIGH, LOW, OLDER, RANK, Record, YOUNGER};
use crate::{Kernel, Memory};

/// One node for each of the 32 bits, and the root. The loops count: they end on any data.
const DEPTH_MAX: u32 = 33;
/// The word that points to the tree of free ranges.
pub(crate) const FREE_ROOT: u32 = ANCHOR + LOW;
/// The word that points to the tree of live blocks whose records the binary search cannot find.
pub(crate) const SPLIT_ROOT: u32 = ANCHOR + HIGH;

const _: () = assert!(HIGH == LOW + 4, "a bit selects the child");

impl<M: Memory> Kernel<M> {
    /// The word that points to the node with this rank, or that is 0 where it would be.
    #[inline(never)]
    pub(crate) fn walk(&self, mut slot: u32, rank: u32) -> u32 {
        let mut bits = rank;
        for _ in 0..DEPTH_MAX {
            let node = self.state(slot);
            if node == 0 || self.field(node, RANK) == rank {
                break;
            }
            slot = node.wrapping_add(bits >> 31 << 2).wrapping_add(LOW);
            bits <<= 1;
        }
        slot
    }

    /// Adds a record to a tree.
    #[inline(never)]
    pub(crate) fn insert(&mut self, root: u32, record: Record, rank: u32) {
        self.memory.set_long(record, LOW, 0);
        self.set_field(record, YOUNGER, record);
        self.set_field(record, OLDER, record);
        in_order();
        self.set_field(record, RANK, rank);
        let slot = self.walk(root, rank);
        let node = self.state(slot);
        if node == 0 {
            self.set_state(slot, record);
        } else {
            let older = self.field(node, OLDER);
            self.set_field(record, YOUNGER, node);
            self.set_field(record, OLDER, older);
            self.set_field(older, YOUNGER, record);
            self.set_field(node, OLDER, record);
        }
    }

    /// Takes a record out of its tree.
    #[inline(never)]
    pub(crate) fn remove(&mut self, root: u32, record: Record) {
        let mut heir = self.field(record, YOUNGER);
        let older = self.field(record, OLDER);
        self.set_field(heir, OLDER, older);
        self.set_field(older, YOUNGER, heir);
        let slot = self.walk(root, self.field(record, RANK));
        if self.state(slot) != record {
            return;
        }
        if heir == record {
            // Any leaf below can take the node's place.
            let mut leaf = slot;
            for _ in 0..DEPTH_MAX {
                heir = self.state(leaf);
                let mut below = heir.wrapping_add(HIGH);
                if self.state(below) == 0 {
                    below = heir.wrapping_add(LOW);
                }
                if self.state(below) == 0 {
                    break;
                }
                leaf = below;
            }
            self.set_state(leaf, 0);
            if heir == record {
                return;
            }
        }
        self.set_state(slot, heir);
        self.memory.set_long(heir, LOW, self.memory.long(record, LOW));
    }

    /// The oldest of the smallest free ranges of at least `size` bytes, or 0.
    #[inline(never)]
    pub(crate) fn best_fit(&self, size: u32) -> Record {
        let mut best = 0;
        let mut best_rank = u32::MAX;
        let mut node = self.state(FREE_ROOT);
        let mut larger = 0;
        let mut bits = size;
        for _ in 0..2 * DEPTH_MAX {
            if node == 0 {
                // What is left to see are the larger ranges nearest to the path; their smallest is
                // on the path that keeps left.
                node = larger;
                larger = 0;
                bits = 0;
                if node == 0 {
                    break;
                }
            }
            let rank = self.field(node, RANK);
            if rank >= size && rank < best_rank {
                best = node;
                best_rank = rank;
            }
            let high = self.field(node, HIGH);
            if (bits as i32) < 0 {
                node = high;
            } else {
                if high != 0 {
                    larger = high;
                }
                node = self.field(node, LOW);
            }
            bits <<= 1;
        }
        best
    }
}
