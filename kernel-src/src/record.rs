//! The table of records: what the kernel knows of each range of bytes.
//!
//! The table grows down from the anchor, and moves when memory grows. So records are linked by their distance below
//! the anchor, which stays as it is.

use crate::layout::RECORD;
use crate::memory::Global;
use crate::{Kernel, Memory};

/// A word of a record, by its offset.
pub type Field = u32;
/// The handle of the range's block, if it has one: 16 above the range's first byte. In a free range, the mark is
/// added; in a spare record it is 0.
pub const PLACE: Field = 0;
/// The record of the range that follows; the next spare record.
pub const NEXT: Field = 4;
/// The record of the range before.
pub const PREV: Field = 8;
/// The length of a live block; 0 in the anchor, and where pages of others lie.
pub const LENGTH: Field = 12;
/// In a free range: the one of its bin that was freed before it, or the bin.
pub const OLDER: Field = LENGTH;
/// In a free range: the one of its bin that was freed after it, or the bin.
pub const YOUNGER: Field = 16;

/// The bits of `PLACE` that are the mark of a free range, and 0 in all others.
pub const MARK: u32 = 3;
/// The mark of a free range.
pub const FREE: u32 = 1;
/// Added to the mark of a free range that holds a small block: it is reused only under pressure.
pub const SMALL: u32 = 2;

/// A distance below the anchor, by which a record is stored; 0 is the anchor, and none.
pub type Link = u32;

/// The address of a record. It is good until memory grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(pub u32);

impl Record {
    /// No record.
    pub const NONE: Self = Self(0);

    /// The record with this link, below the anchor at `head`.
    pub const fn new(head: u32, link: Link) -> Self {
        Self(head.wrapping_sub(link))
    }

    /// Its link, from the anchor at `head`.
    pub const fn link(self, head: u32) -> Link {
        head.wrapping_sub(self.0)
    }
}

impl<M: Memory> Kernel<M> {
    pub(crate) fn field(&self, record: Record, field: Field) -> u32 {
        self.memory.word(record.0, field)
    }

    pub(crate) fn set_field(&mut self, record: Record, field: Field, value: u32) {
        self.memory.set_word(record.0, field, value);
    }

    /// The anchor's address. The anchor is the record before the first, and always all zeros.
    pub(crate) fn head(&self) -> u32 {
        self.memory.get(Global::Head)
    }

    /// The record at the end of the row and of the table: its place is that of the next block.
    #[inline(always)]
    pub(crate) fn last(&self) -> Record {
        Record::new(self.head(), self.memory.get(Global::Table))
    }

    /// Bytes of a free range.
    pub(crate) fn size(&self, record: Record) -> u32 {
        let next = Record::new(self.head(), self.field(record, NEXT));
        self.field(next, PLACE).wrapping_sub(self.field(record, PLACE) & !MARK)
    }

    /// Makes the last record a block of `length` bytes (0: pages of others), and the next one the last. `end` is the
    /// place of the block after it. The table has room.
    ///
    /// A call can be cut between any two changes (L-3): nothing counts before the table does.
    #[inline(always)]
    pub(crate) fn append(&mut self, last: Record, length: u32, end: u32) {
        let link = self.memory.get(Global::Table);
        let next = Record::new(last.0, RECORD);
        self.set_field(next, PLACE, end);
        self.set_field(next, PREV, link);
        self.set_field(last, LENGTH, length);
        self.set_field(last, NEXT, link.wrapping_add(RECORD));
        self.memory.set(Global::Table, link.wrapping_add(RECORD));
    }

    /// Makes two records neighbours.
    pub(crate) fn join(&mut self, left: Record, right: Link) {
        let head = self.head();
        self.set_field(left, NEXT, right);
        self.set_field(Record::new(head, right), PREV, left.link(head));
    }
}
