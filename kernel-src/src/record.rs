//! The table of records, one for each range of memory between two headers.
//!
//! It hangs from [`Global::Head`] and grows down. All ranges form a row in address order, which the first
//! record, the anchor, closes; free ranges are also in the trie. Links are the addresses of records: when
//! memory grows, the table moves up and every link with it.

use crate::kernel::in_order;
use crate::layout::STRETCH;
use crate::memory::Global;
use crate::{Kernel, Memory};

/// The address of a record; 0 is none.
pub type Record = u32;
/// A field's offset in its record.
pub type Field = u32;

/// The length of a live block; 0 in the anchor.
pub const LENGTH: Field = 0;
/// Where a free range hangs in the trie: the record whose child it is, and 4 if the second.
pub const LINK: Field = LENGTH;
/// A free range's size, and in its lowest bit whether it held a small block. 0 in every other record of the row:
/// that of a live block, the anchor, a range that must stay as it is, one that is being freed.
pub const RANK: Field = 4;
/// The address of the range's header; in the anchor, where the next appended one will begin; in a spare
/// record the next spare one, or 0.
pub const PLACE: Field = 8;
/// Smaller in a range that was freed before another; in the anchor, what the next one will get.
pub const AGE: Field = 12;
/// Two words: the roots of a free range's subtrees.
pub const CHILDREN: Field = 16;
/// The first of the records that merging gave back: the anchor's word where others have their first child.
pub const SPARE: Field = CHILDREN;
/// The root of the trie: the anchor's second child.
pub const ROOT: Field = CHILDREN + 4;
/// The next record in address order (the anchor after the last).
pub const NEXT: Field = 24;
/// The previous record in address order.
pub const PREV: Field = 28;
/// Bytes of a record.
pub const RECORD: u32 = 32;

const _: () = assert!(RANK == LENGTH + 4, "one store writes both");
const _: () = assert!(PLACE == RANK + 4, "one load reads both");

impl<M: Memory> Kernel<M> {
    #[inline(always)]
    pub(crate) fn get(&self, global: Global) -> u32 {
        self.memory.global(global)
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, global: Global, value: u32) {
        self.memory.set_global(global, value);
    }

    #[inline(always)]
    pub(crate) fn field(&self, record: Record, field: Field) -> u32 {
        self.memory.word(record, field)
    }

    #[inline(always)]
    pub(crate) fn set_field(&mut self, record: Record, field: Field, value: u32) {
        self.memory.set_word(record, field, value);
    }

    /// The record that closes the row. Its place is where the next block will begin.
    #[inline(always)]
    pub(crate) fn anchor(&self) -> Record {
        self.get(Global::Head)
    }

    /// Bytes from the record's header to the next header.
    #[inline(always)]
    pub(crate) fn size(&self, record: Record) -> u32 {
        self.field(self.field(record, NEXT), PLACE)
            .wrapping_sub(self.field(record, PLACE))
    }

    /// Where the next record of the table will be.
    #[inline(always)]
    pub(crate) fn next_record(&self) -> Record {
        self.anchor().wrapping_sub(self.get(Global::Table))
    }

    /// The index's word for `place`, as a base; its offset is [`RECORD`].
    #[inline(always)]
    pub(crate) fn index_word(&self, place: u32) -> u32 {
        self.anchor().wrapping_add(place >> STRETCH << 2)
    }

    /// Makes two records neighbours, and enters the left one in the index if the right one is the
    /// first range of a stretch.
    #[inline(never)]
    pub(crate) fn join(&mut self, left: Record, right: Record) {
        self.set_field(left, NEXT, right);
        self.set_field(right, PREV, left);
        self.enter(left, self.field(right, PLACE));
    }

    /// Enters a record in the index for the stretch of `end`, where its range ends, unless it begins there.
    #[inline(never)]
    pub(crate) fn enter(&mut self, record: Record, end: u32) {
        if (self.field(record, PLACE) ^ end) >> STRETCH != 0 {
            self.memory
                .set_word(self.index_word(end), RECORD, self.anchor().wrapping_sub(record));
        }
    }

    /// Appends a record for the range from the anchor's place to `end`; the table has room for it.
    ///
    /// The record is written in full before anything points to it, because a call can be cut
    /// between any two stores (L-3). The caller counts it.
    #[inline(always)]
    pub(crate) fn append(&mut self, place: u32, length: u64, end: u32) {
        let record = self.next_record();
        let last = self.field(self.anchor(), PREV);
        self.set_field(record, PLACE, place);
        self.memory.set_long(record, LENGTH, length);
        self.set_field(record, PREV, last);
        self.set_field(record, NEXT, self.anchor());
        in_order();
        self.set_field(last, NEXT, record);
        self.set_field(self.anchor(), PREV, record);
        self.set_field(self.anchor(), PLACE, end);
    }
}
