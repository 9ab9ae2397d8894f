//! The table of records, one for each range of memory between two headers.
//!
//! It hangs from [`HEAD`] and grows down. All ranges form a row in address order, which the
//! [`ANCHOR`] closes; free ranges are also in the list of their size. Links are the addresses of
//! records: when memory grows, the table moves up and every link with it.

use crate::kernel::in_order;
use crate::layout::{ANCHOR, HEAD, STRETCH, TABLE};
use crate::{Kernel, Memory};

/// The address of a record.
pub type Record = u32;
/// A field's offset in its record.
pub type Field = u32;

/// The address of the range's header; in the anchor, where the next appended one will begin.
pub const PLACE: Field = 0;
/// The length of a live block; 0 in every other record.
pub const LENGTH: Field = 4;
/// The next record in address order (the anchor after the last).
pub const NEXT: Field = 8;
/// The previous record in address order.
pub const PREV: Field = 12;
/// A free range's size, and in its lowest bits whether it held a small block; in a spare record the next
/// spare one; 0 in the anchor and in a range while it is being freed. A live block's means nothing.
pub const RANK: Field = 16;
/// The next younger free range of the list, or its head.
pub const YOUNGER: Field = 20;
/// The next older free range of the list, or its head.
pub const OLDER: Field = 24;
/// Bytes of a record.
pub const RECORD: u32 = 32;

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

    /// Bytes from the record's header to the next header.
    pub(crate) fn size(&self, record: Record) -> u32 {
        self.field(self.field(record, NEXT), PLACE)
            .wrapping_sub(self.field(record, PLACE))
    }

    /// The record this far below the first.
    #[inline(always)]
    pub(crate) fn record(&self, distance: u32) -> Record {
        self.state(HEAD).wrapping_sub(distance)
    }

    /// Where the next record of the table will be.
    #[inline(never)]
    pub(crate) fn next_record(&self) -> Record {
        self.record(self.state(TABLE))
    }

    /// How far a record is below the first; unlike its address it stays the same when the table moves.
    #[inline(always)]
    pub(crate) fn distance(&self, record: Record) -> u32 {
        self.state(HEAD).wrapping_sub(record)
    }

    /// The index's word for `place`, as a base; its offset is [`RECORD`].
    #[inline(never)]
    pub(crate) fn index_word(&self, place: u32) -> u32 {
        self.state(HEAD).wrapping_add(place >> STRETCH << 2)
    }

    /// Enters the table's next record in the index for the stretch of `place`: its range will begin at
    /// `place` or end there.
    #[inline(never)]
    pub(crate) fn enter_next(&mut self, place: u32) {
        self.memory
            .set_word(self.index_word(place), RECORD, self.state(TABLE));
    }

    /// Makes two records neighbours, and enters the left one in the index if the right one is the
    /// first range of a stretch.
    #[inline(never)]
    pub(crate) fn join(&mut self, left: Record, right: Record) {
        self.set_field(left, NEXT, right);
        self.set_field(right, PREV, left);
        let place = self.field(right, PLACE);
        if (self.field(left, PLACE) ^ place) >> STRETCH != 0 {
            self.memory
                .set_word(self.index_word(place), RECORD, self.distance(left));
        }
    }

    /// Appends a record for the range from the anchor's place to `end`; the table has room for it.
    ///
    /// The record is written in full before anything points to it, because a call can be cut
    /// between any two stores (L-3). Returns its place and its distance.
    #[inline(always)]
    pub(crate) fn append(&mut self, length: u64, end: u32) -> (u32, u32) {
        let distance = self.state(TABLE);
        let record = self.record(distance);
        let place = self.field(ANCHOR, PLACE);
        let last = self.field(ANCHOR, PREV);
        self.set_field(record, PLACE, place);
        self.memory
            .set_long(record, LENGTH, length | u64::from(ANCHOR) << 32);
        self.set_field(record, PREV, last);
        in_order();
        self.set_field(last, NEXT, record);
        self.set_field(ANCHOR, PREV, record);
        self.set_field(ANCHOR, PLACE, end);
        self.set_state(TABLE, distance.wrapping_add(RECORD));
        (place, distance)
    }
}
