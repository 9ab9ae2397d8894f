//! The free ranges, so that the oldest that fits is found, whatever there is.
//!
//! A priority search trie: a range's key is its size, and then its place; at depth d the d-th bit of the
//! key leads to a child, and every range is older than those below it. So a subtree's root is the oldest
//! in it, and the ranges that fit are those on the path of the size asked for and the subtrees to the
//! right of it. A new range is the youngest, so it becomes a leaf.

use crate::kernel::in_order;
use crate::layout::BASE;
use crate::memory::Global;
use crate::record::{AGE, CHILDREN, LINK, PLACE, RANK, Record, Slot};
use crate::{Kernel, Memory};

/// The bits that lead to a range: bit 1, which is set, for the root is the anchor's second child; bit 0, and then
/// from bit 63 down.
///
/// They are a one for each four doublings of the size (the larger a range, the fewer there can be), a zero, two bits
/// for the doublings that are left, what follows the size's first bit, and something that differs for each place.
/// Sizes are multiples of 16, and so are places; the least size is 32.
#[inline(never)]
fn key(size: u32, place: u32) -> u64 {
    let number = u64::from(size >> 4) << 32 | u64::from(place.wrapping_mul(0x9_e377));
    let zeros = number.leading_zeros();
    let doublings = 30_u32.wrapping_sub(zeros);
    // The number's first bit, which is set, counts as one more: the sum is 8 and the two bits.
    let bits = (number << zeros >> 3).wrapping_add(u64::from((doublings & 3) + 7) << 60);
    ((bits as i64) >> (doublings >> 2)).rotate_left(2) as u64
}

/// The offset of the child that a key's bit 2 leads to.
#[inline(always)]
fn side(key: u64) -> u32 {
    key as u32 & 4
}

impl<M: Memory> Kernel<M> {
    #[inline(always)]
    pub(crate) fn child(&self, slot: Slot) -> Record {
        Record::new(self.memory.word(slot.at(), CHILDREN))
    }

    #[inline(always)]
    fn set_child(&mut self, slot: Slot, child: Record) {
        self.memory.set_word(slot.at(), CHILDREN, child.at());
    }

    /// Adds a free range as the youngest.
    #[inline(never)]
    pub(crate) fn insert(&mut self, record: Record, rank: u32) {
        // After 2^31 ranges the order is wrong once; all else stands.
        let age = self.get(Global::Age).wrapping_sub(2);
        self.set(Global::Age, age);
        self.set_field(record, AGE, age);
        self.set_field(record, RANK, rank);
        self.set_link(record, CHILDREN, self.anchor());
        self.set_link(record, CHILDREN + 4, self.anchor());
        let mut key = key(rank, self.field(record, PLACE));
        let mut node = self.anchor();
        let mut slot;
        loop {
            key = key.rotate_left(1);
            slot = node.slot(side(key));
            node = self.child(slot);
            if node == self.anchor() {
                break;
            }
        }
        // Only a rank tells that this is no length.
        in_order();
        self.set_field(record, LINK, slot.at());
        self.set_child(slot, record);
    }

    /// Takes a free range out: the older of two children moves up, and leaves a place to its own children.
    #[inline(never)]
    pub(crate) fn remove(&mut self, record: Record) {
        let mut slot = Slot::new(self.field(record, LINK));
        let mut older = self.link(record, CHILDREN);
        let mut younger = self.link(record, CHILDREN + 4);
        loop {
            let is_second_older = self.field(older, AGE) < self.field(younger, AGE);
            if is_second_older {
                (older, younger) = (younger, older);
            }
            self.set_child(slot, older);
            if older == self.anchor() {
                return;
            }
            self.set_field(older, LINK, slot.at());
            let first = self.link(older, CHILDREN);
            let second = self.link(older, CHILDREN + 4);
            slot = older.slot(u32::from(is_second_older) << 2);
            self.set_child(slot.other(), younger);
            if younger != self.anchor() {
                self.set_field(younger, LINK, slot.other().at());
            }
            older = first;
            younger = second;
        }
    }

    /// The older of two ranges. The anchor stands for none, and none is younger than any.
    #[inline(never)]
    fn older(&self, one: Record, other: Record) -> Record {
        if self.field(one, AGE) < self.field(other, AGE) {
            other
        } else {
            one
        }
    }

    /// The oldest free range of at least `size` bytes but `other`, or the anchor.
    #[inline(always)]
    pub(crate) fn find_free(&self, size: u32, other: Record) -> Record {
        let mut best = self.anchor();
        let mut key = key(size, 0);
        let mut node = self.anchor();
        loop {
            key = key.rotate_left(1);
            // If the size leads to the first child, all in the second is larger.
            if side(key) == 0 {
                let mut larger = self.link(node, CHILDREN + 4);
                if larger == other {
                    larger = self.older(self.link(larger, CHILDREN), self.link(larger, CHILDREN + 4));
                }
                best = self.older(best, larger);
            }
            node = self.child(node.slot(side(key)));
            if (node == self.anchor()) || (self.field(node, RANK) >= size && node != other) {
                return self.older(best, node);
            }
        }
    }
}

const _: () = assert!(BASE >= 32, "no range has the address of none");
