//! The table of block records.
//!
//! It hangs from [`HEAD`](crate::layout::HEAD) and grows down. Links are the addresses of records;
//! when memory grows the table moves up and every link with it. 0 means "none", and the row of all
//! ranges in address order is closed by the [`ANCHOR`].
//!
//! Records are appended in address order and stay in their places, which makes [`KEY`] a sorted
//! column: in a record that was appended with its block it is the block's place; in one that was
//! added to split a range it lies just below the place that the next appended block will have, so
//! that it equals no block's place.

use crate::kernel::in_order;
use crate::layout::{ANCHOR, HEAD, TABLE};
use crate::{Kernel, Memory};

/// The address of a record.
pub type Record = u32;
/// A field's offset in its record.
pub type Field = u32;

/// The address of the block's header; in the anchor, where the next appended block will have its own.
pub const PLACE: Field = 0;
/// Sorted column for the binary search.
pub const KEY: Field = 4;
/// The length of a live block; 0 in every other record.
pub const LENGTH: Field = 8;
/// The next record in address order (the anchor after the last).
pub const NEXT: Field = 12;
/// The previous record in address order.
pub const PREV: Field = 16;
/// What a tree sorts by: a free range's size and age class, a live block's place; 0 in no tree.
pub const RANK: Field = 20;
/// The child for a 0 bit; in the anchor the root of the free ranges.
pub const LOW: Field = 24;
/// The child for a 1 bit; in the anchor the root of the live blocks that splitting made.
pub const HIGH: Field = 28;
/// The next younger record of the same rank, in a ring.
pub const YOUNGER: Field = 32;
/// The next older record of the same rank, in a ring.
pub const OLDER: Field = 36;
/// Bytes of a record.
pub const RECORD: u32 = 40;

const _: () = assert!(NEXT == LENGTH + 4, "one store writes both");

impl<M: Memory> Kernel<M> {
    /// One of the kernel's fixed words.
    #[inline(always)]
    pub(crate) fn state(&self, word: u32) -> u32 {
        self.memory.word(word, 0)
    }

    #[inline(always)]
    pub(crate) fn set_state(&mut self, word: u32, value: u32) {
        self.memory.set_word(word, 0, value);
    }

    #[inline(always)]
    pub(crate) fn field(&self, record: Record, field: Field) -> u32 {
        self.memory.word(record, field)
    }

    #[inline(always)]
    pub(crate) fn set_field(&mut self, record: Record, field: Field, value: u32) {
        self.memory.set_word(record, field, value);
    }

    /// Whether the record is a range that can be reused or merged.
    pub(crate) fn is_free(&self, record: Record) -> bool {
        self.field(record, LENGTH) == 0 && self.field(record, RANK) != 0
    }

    /// Bytes from the record's header to the next header.
    pub(crate) fn size(&self, record: Record) -> u32 {
        self.field(self.field(record, NEXT), PLACE).wrapping_sub(self.field(record, PLACE))
    }

    /// Appends a record for the range from the anchor's place to `end`; the table has room for it.
    ///
    /// The record is written in full before anything points to it, because a call can be cut
    /// between any two stores (L-3). Returns its place and its distance below the head.
    #[inline(always)]
    pub(crate) fn append(&mut self, length: u32, end: u32) -> (u32, u32) {
        let distance = self.state(TABLE);
        let record = self.state(HEAD).wrapping_sub(distance);
        let place = self.field(ANCHOR, PLACE);
        let last = self.field(ANCHOR, PREV);
        self.set_field(record, PLACE, place);
        self.set_field(record, KEY, place);
        self.memory.set_long(record, LENGTH, u64::from(length) | u64::from(ANCHOR) << 32);
        self.set_field(record, PREV, last);
        in_order();
        self.set_field(last, NEXT, record);
        self.set_field(ANCHOR, PREV, record);
        self.set_field(ANCHOR, PLACE, end);
        self.set_state(TABLE, distance.wrapping_add(RECORD));
        (place, distance)
    }
}
