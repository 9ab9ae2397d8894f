//! The free ranges, so that the oldest that fits is found, whatever there is.
//!
//! A priority search trie: a range's key is its size, and then its place; at depth d the d-th bit of the
//! key leads to a child, and every range is older than those below it. So a subtree's root is the oldest
//! in it, and the ranges that fit are those on the path of the size asked for and the subtrees to the
//! right of it. A new range is the youngest, so it becomes a leaf.

use crate::layout::BASE;
use crate::record::{AGE, CHILDREN, PLACE, RANK, ROOT, Record};
use crate::{Kernel, Memory};

/// The bits that lead to a range: bit 2, bit 1, bit 0, and then from bit 63 down.
///
/// They are a one for each doubling of the size (the larger a range, the fewer there can be), a zero, what
/// follows the size's first bit, and something that differs for each place. Sizes are multiples of 16, and
/// so are places; the least size is 32.
#[inline(never)]
fn key(size: u32, place: u32) -> u64 {
    let number = u64::from(size >> 4) << 32 | u64::from(place.wrapping_mul(0x9_e377));
    let zeros = number.leading_zeros();
    // A one and a zero where the number's first bit was, and a one more for each doubling.
    let bits = (number << zeros >> 1) ^ u64::MAX << 62;
    ((bits as i64) >> (30_u32.wrapping_sub(zeros) & 63)).rotate_left(3) as u64
}

/// The offset of the child that a key's bit 2 leads to.
#[inline(always)]
fn side(key: u64) -> u32 {
    key as u32 & 4
}

impl<M: Memory> Kernel<M> {
    /// Where `end` stands on the path of `record`: the record whose child it is, and 4 if the second.
    #[inline(never)]
    fn walk(&self, record: Record, end: Record) -> u32 {
        let mut key = key(self.field(record, RANK), self.field(record, PLACE));
        let mut node = self.anchor();
        loop {
            let link = node.wrapping_add(side(key));
            node = self.field(link, CHILDREN);
            key = key.rotate_left(1);
            if node == end {
                return link;
            }
        }
    }

    /// Adds a free range as the youngest.
    #[inline(never)]
    pub(crate) fn insert(&mut self, record: Record, rank: u32) {
        // The anchor stands for none, and none is younger than any.
        self.set_field(record, AGE, self.field(self.anchor(), AGE));
        self.set_field(self.anchor(), AGE, self.field(record, AGE).wrapping_add(1));
        self.set_field(record, RANK, rank);
        self.set_field(record, CHILDREN, self.anchor());
        self.set_field(record, CHILDREN + 4, self.anchor());
        let link = self.walk(record, self.anchor());
        self.set_field(link, CHILDREN, record);
    }

    /// Takes a free range out: the older of two children moves up, and leaves a place to its own children.
    #[inline(never)]
    pub(crate) fn remove(&mut self, record: Record) {
        let mut link = self.walk(record, record);
        let mut older = self.field(record, CHILDREN);
        let mut younger = self.field(record, CHILDREN + 4);
        loop {
            let mut side = 4;
            if self.field(older, AGE) > self.field(younger, AGE) {
                (older, younger) = (younger, older);
                side = 0;
            }
            self.set_field(link, CHILDREN, older);
            if older == self.anchor() {
                return;
            }
            link = older.wrapping_add(side);
            let first = self.field(older, CHILDREN);
            let second = self.field(older, CHILDREN + 4);
            self.set_field(link, CHILDREN, younger);
            link ^= 4;
            older = first;
            younger = second;
        }
    }

    /// The older of two ranges. The anchor stands for none, and none is younger than any.
    #[inline(never)]
    fn older(&self, one: Record, other: Record) -> Record {
        if self.field(one, AGE) > self.field(other, AGE) {
            other
        } else {
            one
        }
    }

    /// The oldest free range of at least `size` bytes, or the anchor.
    #[inline(always)]
    pub(crate) fn find_free(&self, size: u32) -> Record {
        let mut best = self.anchor();
        let mut key = key(size, 0);
        let mut node = self.anchor();
        loop {
            // If the size leads to the first child, all in the second is larger.
            if side(key) == 0 {
                best = self.older(best, self.field(node, CHILDREN + 4));
            }
            node = self.field(node.wrapping_add(side(key)), CHILDREN);
            key = key.rotate_left(1);
            if (node == self.anchor()) | (self.field(node, RANK) >= size) {
                return self.older(best, node);
            }
        }
    }
}

const _: () = assert!(BASE >= 32, "no range has the address of none");
