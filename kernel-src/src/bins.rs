//! The free ranges, in bins by their size: the one to reuse is found without a search.
//!
//! A bin is a ring of ranges in the order in which they were freed. The bin itself is where the ring begins and ends:
//! its two words are linked like the last two of a record. They are written when a range enters an empty bin, and read
//! only while the bin's bit is set. So `reset` clears the bits alone.

use crate::layout::{BINS, BITMAP, HEADER};
use crate::record::{Link, MARK, OLDER, PLACE, Record, YOUNGER};
use crate::{Kernel, Memory};

/// The link of the first bin, so that its words are where a record has its own for the ring.
const FIRST_BIN: Link = OLDER.wrapping_sub(BINS);

/// The bin of a range of `size` bytes, at least 32: four for each doubling.
#[inline(never)]
pub(crate) fn bin_of(size: u32) -> u32 {
    let zeros = size.leading_zeros();
    // The size's first three bits, and four for each doubling.
    (size >> 29_u32.wrapping_sub(zeros)).wrapping_sub(zeros << 2).wrapping_add(100)
}

fn bin_link(number: u32) -> Link {
    FIRST_BIN.wrapping_sub(number << 3)
}

/// The base of the bitmap's word with a bin's bit; its offset is [`BITMAP`].
#[inline(never)]
fn bitmap(head: u32, number: u32) -> u32 {
    head.wrapping_sub(number >> 6 << 3)
}

impl<M: Memory> Kernel<M> {
    /// Sets or clears a bin's bit.
    fn flip(&mut self, number: u32) {
        let at = bitmap(self.head(), number);
        let bits = self.memory.long(at, BITMAP) ^ 1_u64.wrapping_shl(number);
        self.memory.set_long(at, BITMAP, bits);
    }

    /// Adds a range of `size` bytes to its bin as the youngest; `place` is marked.
    pub(crate) fn insert(&mut self, record: Record, place: u32, size: u32) {
        // The mark says that there is no length any more, so it comes before what takes the length's word.
        self.set_field(record, PLACE, place);
        let number = bin_of(size);
        let head = self.head();
        let link = record.link(head);
        let bin = bin_link(number);
        let bin_record = Record::new(head, bin);
        if self.memory.long(bitmap(head, number), BITMAP).wrapping_shr(number) & 1 == 0 {
            self.flip(number);
            self.set_field(bin_record, OLDER, bin);
        }
        let youngest = self.field(bin_record, OLDER);
        self.set_field(record, OLDER, youngest);
        self.set_field(record, YOUNGER, bin);
        self.set_field(Record::new(head, youngest), YOUNGER, link);
        self.set_field(bin_record, OLDER, link);
    }

    /// Takes a range out of its bin.
    pub(crate) fn remove(&mut self, record: Record) {
        let head = self.head();
        let older = self.field(record, OLDER);
        let younger = self.field(record, YOUNGER);
        self.set_field(Record::new(head, older), YOUNGER, younger);
        self.set_field(Record::new(head, younger), OLDER, older);
        if older == younger {
            // Both are the bin: it is empty.
            self.flip(FIRST_BIN.wrapping_sub(older) >> 3);
        }
    }

    /// The range to reuse for `size` bytes, or none: the oldest of the size's own bin if it fits, else the oldest of
    /// the first bin in which all fit. If the output lies where the block would, it is the turn of the next one of the
    /// bin, and if that does not do there is none.
    pub(crate) fn find_free(&self, size: u32) -> Record {
        let head = self.head();
        let mut number = bin_of(size);
        let at = bitmap(head, number);
        let mut bits = self.memory.long(at, BITMAP).wrapping_shr(number);
        if bits & 1 == 0 || self.size(self.younger(head, bin_link(number))) < size {
            bits &= !1;
            if bits == 0 {
                // The word after the last is the anchor's.
                bits = self.memory.long(at, BITMAP - 8);
                number = (number | 63).wrapping_add(1);
            }
            if bits == 0 {
                return Record::NONE;
            }
            number = number.wrapping_add(bits.trailing_zeros());
        }
        let bin = bin_link(number);
        let mut record = self.younger(head, bin);
        if self.is_output(record, size) {
            record = self.younger(head, record.link(head));
            if record == Record::new(head, bin) || self.size(record) < size || self.is_output(record, size) {
                return Record::NONE;
            }
        }
        record
    }

    /// The range that was freed next after the one with this link, or the oldest of the bin with this link.
    fn younger(&self, head: u32, link: Link) -> Record {
        Record::new(head, self.field(Record::new(head, link), YOUNGER))
    }

    /// Whether a block of `size` bytes at the beginning of the range, with its header, would lie over the output.
    #[inline(always)]
    fn is_output(&self, record: Record, size: u32) -> bool {
        let offset = self.output_offset().0 as u32;
        offset != 0 && self.meets(record, size, offset)
    }

    fn meets(&self, record: Record, size: u32, offset: u32) -> bool {
        let start = (self.field(record, PLACE) & !MARK).wrapping_sub(HEADER);
        (offset.wrapping_sub(start) < size) | (u64::from(start.wrapping_sub(offset)) < self.output_length())
    }
}
