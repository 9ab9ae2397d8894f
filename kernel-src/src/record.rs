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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Record(u32);

/// Where the trie holds a range: the address of the record whose child it is, and 4 if the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(u32);

/// A field's offset in its record.
pub type Field = u32;

/// The length of a live block; 0 in the anchor.
pub const LENGTH: Field = 0;
/// The slot of a free range in the trie.
pub const LINK: Field = LENGTH;
/// A free range's size, and in its lowest bit whether it held a small block. 0 in every other record of the row:
/// that of a live block, the anchor, a range that must stay as it is, one that is being freed.
pub const RANK: Field = 4;
/// The address of the range's header; in the anchor, where the next appended one will begin; in a spare
/// record the next spare one, or 0.
pub const PLACE: Field = 8;
/// Larger in a free range that was freed before another; 0 in the anchor.
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

impl Record {
    /// No record.
    pub const NONE: Self = Self(0);

    /// The record at an address of the table.
    #[inline(always)]
    pub const fn new(at: u32) -> Self {
        Self(at)
    }

    /// Its address.
    #[inline(always)]
    pub const fn at(self) -> u32 {
        self.0
    }

    /// The record that lies so many bytes below.
    #[inline(always)]
    pub const fn below(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// Its slot for a child: `side` is 0 for the first, 4 for the second.
    #[inline(always)]
    pub const fn slot(self, side: u32) -> Slot {
        Slot(self.0.wrapping_add(side))
    }
}

impl Slot {
    /// The slot that a record's field tells.
    #[inline(always)]
    pub const fn new(at: u32) -> Self {
        Self(at)
    }

    /// What a record's field has of it.
    #[inline(always)]
    pub const fn at(self) -> u32 {
        self.0
    }

    /// The other slot of the same record: records begin at multiples of 32.
    #[inline(always)]
    pub const fn other(self) -> Self {
        Self(self.0 ^ 4)
    }
}

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
        self.memory.word(record.at(), field)
    }

    #[inline(always)]
    pub(crate) fn set_field(&mut self, record: Record, field: Field, value: u32) {
        self.memory.set_word(record.at(), field, value);
    }

    /// A field that leads to a record.
    #[inline(always)]
    pub(crate) fn link(&self, record: Record, field: Field) -> Record {
        Record::new(self.field(record, field))
    }

    #[inline(always)]
    pub(crate) fn set_link(&mut self, record: Record, field: Field, to: Record) {
        self.set_field(record, field, to.at());
    }

    /// The record that closes the row. Its place is where the next block will begin.
    #[inline(always)]
    pub(crate) fn anchor(&self) -> Record {
        Record::new(self.get(Global::Head))
    }

    /// Bytes from the record's header to the next header.
    #[inline(always)]
    pub(crate) fn size(&self, record: Record) -> u32 {
        self.field(self.link(record, NEXT), PLACE)
            .wrapping_sub(self.field(record, PLACE))
    }

    /// Where the next record of the table will be. Out of line but where it must be fast: that is smaller.
    #[inline(never)]
    pub(crate) fn next_record(&self) -> Record {
        self.anchor().below(self.get(Global::Table))
    }

    /// How far below the anchor a record is.
    #[inline(always)]
    pub(crate) fn distance(&self, record: Record) -> u32 {
        self.anchor().at().wrapping_sub(record.at())
    }

    /// The index's word for `place`, as a base; its offset is [`RECORD`].
    #[inline(always)]
    pub(crate) fn index_word(&self, place: u32) -> u32 {
        self.anchor().at().wrapping_add(place >> STRETCH << 2)
    }

    /// Makes two records neighbours, and enters the left one in the index if the right one is the
    /// first range of a stretch.
    #[inline(never)]
    pub(crate) fn join(&mut self, left: Record, right: Record) {
        self.set_link(left, NEXT, right);
        self.set_link(right, PREV, left);
        self.enter(left, self.field(right, PLACE));
    }

    /// Enters a record in the index for the stretch of `end`, where its range ends, unless it begins there.
    #[inline(never)]
    pub(crate) fn enter(&mut self, record: Record, end: u32) {
        if (self.field(record, PLACE) ^ end) >> STRETCH != 0 {
            self.memory
                .set_word(self.index_word(end), RECORD, self.distance(record));
        }
    }

    /// Appends a record for the range from the anchor's place to `end`; the table has room for it.
    ///
    /// A call can be cut between any two stores (L-3). So the record is written in full before anything leads to it;
    /// and the caller counts it, and only then makes the anchor lead to it: the next one has this one's neighbour, or
    /// its place in the table, but never both.
    #[inline(always)]
    pub(crate) fn append(&mut self, place: u32, length: u64, end: u32) -> Record {
        let record = self.anchor().below(self.get(Global::Table));
        let last = self.link(self.anchor(), PREV);
        self.set_field(record, PLACE, place);
        self.memory.set_long(record.at(), LENGTH, length);
        self.set_link(record, PREV, last);
        self.set_link(record, NEXT, self.anchor());
        in_order();
        self.set_link(last, NEXT, record);
        self.set_field(self.anchor(), PLACE, end);
        record
    }
}
