//! The table of block records.
//!
//! It hangs from the anchor at [`TOP`] and grows down. A [`Ref`] is the distance of a record below
//! the anchor, so the table can be moved as a whole; 0 is the anchor itself and means "none".
//!
//! Records are appended in address order and never moved, which makes [`KEY`] a sorted column:
//! for a block that was appended it is the block's place, for a record that was made by splitting a
//! range it lies just under the place that the next appended block would have had, so that it
//! equals no block's place.

use crate::layout::{TAIL, TOP};
use crate::{Kernel, Memory};

/// The distance of a record below the anchor in bytes; a multiple of [`RECORD`].
pub type Ref = u32;
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
/// The slot that points to this node, as a distance below the anchor; 0 for ring members.
pub const UP: Field = 32;
/// Next younger record of the same rank, in a ring.
pub const YOUNGER: Field = 36;
/// Next older record of the same rank, in a ring.
pub const OLDER: Field = 40;
/// Bytes of a record.
pub const RECORD: u32 = 44;

const _: () = assert!(NEXT == LENGTH + 4, "one store writes both");

impl<M: Memory> Kernel<M> {
    /// The address of the anchor.
    #[inline(always)]
    pub(crate) fn top(&self) -> u32 {
        self.memory.word(TOP)
    }

    #[inline(always)]
    pub(crate) fn field(&self, record: Ref, field: Field) -> u32 {
        self.memory.word((self.top() - record) + field)
    }

    #[inline(always)]
    pub(crate) fn set_field(&mut self, record: Ref, field: Field, value: u32) {
        self.memory.set_word((self.top() - record) + field, value);
    }

    /// Whether the record is a range that can be reused or merged.
    pub(crate) fn is_free(&self, record: Ref) -> bool {
        self.field(record, LENGTH) == 0 && self.field(record, RANK) != 0
    }

    /// Bytes from the record's header to the next header.
    pub(crate) fn size(&self, record: Ref) -> u32 {
        self.field(self.field(record, NEXT), PLACE) - self.field(record, PLACE)
    }

    /// Appends a record for the bytes from the anchor's place on, at a reference that has room.
    ///
    /// The record is written in full before anything points to it, because a call can be cut
    /// between any two stores (L-3).
    #[inline(always)]
    pub(crate) fn append(&mut self, record: Ref, length: u32, end: u32) -> u32 {
        let top = self.top();
        let at = top - record;
        let place = self.memory.word(top);
        let last = self.memory.word(top + PREV);
        self.memory.set_word(at + PLACE, place);
        self.memory.set_word(at + KEY, place);
        self.memory.set_long(at + LENGTH, u64::from(length));
        self.memory.set_word(at + PREV, last);
        crate::kernel::in_order();
        self.memory.set_word(top - last + NEXT, record);
        self.memory.set_word(top + PREV, record);
        self.memory.set_word(top + PLACE, end);
        self.memory.set_word(TAIL, record);
        place
    }
}
