//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::kernel::in_order;
use crate::layout::{
    ANCHOR, ERROR, ERROR_FREED, FIRST_HANDLE, HEAD, HEADER, HOLE_END, HOLE_START, INPUT, OUTPUT,
    OUTPUT_FREED, PAGE_BYTES, PAGE_NET, READY, SMALL_MAX, SPAN, SPARE, STATE_END, STRETCH, TABLE, USED,
};
use crate::record::{LENGTH, NEXT, PLACE, PREV, RANK, RECORD, RECORD_SHIFT, Record};
use crate::{Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 4;
/// The records of a stretch full of the smallest blocks. They are provided for when it is begun.
const STRETCH_RECORDS: u32 = (RECORD << STRETCH) / (2 * HEADER);
/// Unused bytes that only records may take: those, and some that let ranges be split when all else is full.
const RESERVE: u32 = STRETCH_RECORDS + 64 * RECORD;
/// Memory grows by the table's size divided by 2 to this more than is needed, so that moves of a
/// large table are rare: by nothing below 6,553 records, and never by a quarter.
const AMPLE: u32 = 18;

/// What `make_place` returns when memory cannot be had.
const REFUSED: u64 = 0;
/// What it returns when the bytes at the anchor's place are ready for the block.
const PREPARED: u64 = 1;

impl<M: Memory> Kernel<M> {
    /// Reserves `length` bytes and returns their handle, or 0.
    ///
    /// O(1) while there are unused bytes, else O(log) with at most 33 steps down each tree. When
    /// memory grows the table moves; bytes that an earlier life used are cleared.
    #[inline(always)]
    pub fn alloc(&mut self, length: u64) -> u64 {
        let size = (length as u32).wrapping_add(HEADER + 15) & !15;
        if length.wrapping_sub(1) >= SMALL_MAX || !self.is_ready(size) {
            let handle = self.make_place(length, size);
            if handle != PREPARED {
                return handle;
            }
        }
        let end = self.field(ANCHOR, PLACE).wrapping_add(size);
        let (place, number) = self.append(length, end);
        self.set_field(place, 4, number);
        self.set_state(
            SPAN,
            place
                .wrapping_add(length as u32)
                .wrapping_sub(FIRST_HANDLE - HEADER),
        );
        u64::from(place.wrapping_add(HEADER))
    }

    /// Whether a block of `size` bytes can be appended without preparation.
    #[inline(always)]
    fn is_ready(&self, size: u32) -> bool {
        self.field(ANCHOR, PLACE).wrapping_add(size) <= self.state(READY)
    }

    /// The slow path of `alloc`: a handle, [`REFUSED`] or [`PREPARED`].
    #[inline(never)]
    #[cold]
    fn make_place(&mut self, length: u64, size: u32) -> u64 {
        // A size that wrapped is small, and so is that of 0 bytes.
        if length >> 32 != 0 || size < 2 * HEADER {
            return REFUSED;
        }
        if self.state(HEAD) == 0 {
            self.reset();
        }
        let has_space = self.has_space(size);
        if !has_space || length > SMALL_MAX {
            let fit = self.find_free(size);
            if fit != 0 && !(has_space && self.field(fit, RANK) & SMALL != 0) && !self.is_kept(fit, size) {
                return self.reuse(fit, length, size);
            }
        }
        if !has_space && !self.grow(size) {
            return REFUSED;
        }
        self.prepare(size);
        PREPARED
    }

    /// Whether a block of `size` more bytes ends below the table and its reserve, or below the hole.
    fn has_space(&self, size: u32) -> bool {
        let place = self.field(ANCHOR, PLACE);
        let mut end = self.next_record().wrapping_sub(RESERVE);
        if end < self.state(HOLE_END) {
            return false;
        }
        let hole = self.state(HOLE_START);
        if place < hole {
            end = hole;
        }
        end >= place && end.wrapping_sub(place) >= size
    }

    /// Makes the next `size` bytes clean and the table ready for more records.
    fn prepare(&mut self, size: u32) {
        let place = self.field(ANCHOR, PLACE);
        let end = place.wrapping_add(size);
        if (place ^ end) >> STRETCH != 0 {
            self.memory
                .set_word(self.index_word(end), RECORD, self.state(TABLE));
        }
        // Until all used bytes are behind, every block comes here; later, because of the index, those
        // that reach into another stretch.
        let used = self.state(USED);
        let mut ready = end;
        if place < used {
            self.memory.clear(place, end.min(used).wrapping_sub(place));
        } else {
            ready = ready.max((end | ((1 << STRETCH) - 1)).min(self.next_record().wrapping_sub(RESERVE)));
        }
        self.set_state(READY, ready);
    }

    /// Asks for the pages that a block of `size` bytes needs and moves the table to their end. If
    /// others grew memory, or did before, the next block will lie behind their pages.
    fn grow(&mut self, size: u32) -> bool {
        let mut start = self.field(ANCHOR, PLACE);
        let pages = self.memory.pages();
        let head = self.state(HEAD);
        let owned = head / PAGE_NET + 1;
        if start < self.state(HOLE_START) {
            start = self.state(HOLE_END);
        }
        if pages != owned {
            start = pages.wrapping_mul(PAGE_BYTES);
        }
        let table = self.state(TABLE) << RECORD_SHIFT;
        let bytes = u64::from(table)
            + u64::from(start)
            + u64::from(size)
            + u64::from(RESERVE + RECORD + PAGE_NET - 1);
        let need = ((bytes / u64::from(PAGE_NET)) as u32).max(pages);
        if !(self.memory.grow(need + (table >> AMPLE) - pages) || self.memory.grow(need - pages)) {
            return false;
        }
        let old = self.next_record().wrapping_add(RECORD);
        self.own(self.memory.pages());
        let new = self.next_record().wrapping_add(RECORD);
        let end = owned.wrapping_mul(PAGE_BYTES);
        self.memory.copy(new, old, end.wrapping_sub(old));
        self.set_state(USED, end);
        self.relink(new, self.state(HEAD).wrapping_add(RECORD), old);
        self.relink(SPARE, STATE_END, old);
        if pages != owned {
            if self.state(HOLE_START) == 0 {
                self.set_state(HOLE_START, end);
            }
            self.set_state(HOLE_END, start);
        }
        let unused = self.field(ANCHOR, PLACE);
        if start != unused {
            // Loads reach what is passed over, so it must not show an earlier life.
            let hole = self.state(HOLE_START);
            let passed = if unused < hole { hole } else { end };
            self.memory.clear(unused, passed.wrapping_sub(unused));
            self.set_field(ANCHOR, PLACE, start);
            self.memory
                .set_word(self.index_word(start), RECORD, self.state(TABLE));
        }
        true
    }

    /// Moves the links from one address to another with the table, which lay at `old`.
    ///
    /// Links are the words that are not below the table: places, lengths and ranks all are.
    #[inline(never)]
    fn relink(&mut self, mut at: u32, end: u32, old: u32) {
        while at < end {
            let word = self.state(at);
            if word >= old {
                self.set_state(
                    at,
                    word.wrapping_sub(old)
                        .wrapping_add(self.next_record())
                        .wrapping_add(RECORD),
                );
            }
            at = at.wrapping_add(4);
        }
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output or in
    /// the hole.
    fn is_kept(&self, record: Record, size: u32) -> bool {
        let place = self.field(record, PLACE);
        let end = place.wrapping_add(size);
        let offset = self.state(OUTPUT);
        place < offset.wrapping_add(self.state(OUTPUT + 4)) && offset < end
            || place < self.state(HOLE_END) && self.state(HOLE_START) < end
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left.
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> u64 {
        let place = self.field(record, PLACE);
        let rest_size = self.size(record).wrapping_sub(size);
        self.remove(record);
        if rest_size >= 2 * HEADER {
            let rest = self.take_record();
            if rest != 0 {
                let next = self.field(record, NEXT);
                let rest_place = place.wrapping_add(size);
                self.set_field(rest, PLACE, rest_place);
                self.memory.set_long(rest, LENGTH, u64::from(next) << 32);
                self.set_field(rest, PREV, record);
                self.insert(rest, rest_size | self.field(record, RANK) & SMALL);
                in_order();
                self.set_field(next, PREV, rest);
                self.set_field(record, NEXT, rest);
                self.enter(rest, next);
                self.enter(record, rest);
            }
        }
        self.set_field(record, LENGTH, length as u32);
        self.set_field(place, 4, self.number(record));
        let span = place
            .wrapping_add(length as u32)
            .wrapping_sub(FIRST_HANDLE - HEADER);
        self.set_state(SPAN, span.max(self.state(SPAN)));
        u64::from(place.wrapping_add(HEADER))
    }

    /// A record for a range that is not at the end: one that merging gave back, or one of the
    /// reserve, or 0.
    #[inline(always)]
    fn take_record(&mut self) -> Record {
        let spare = self.state(SPARE);
        if spare != 0 {
            self.set_state(SPARE, self.field(spare, RANK));
            return spare;
        }
        let record = self.next_record();
        if record.wrapping_sub(STRETCH_RECORDS) < self.state(READY) {
            return 0;
        }
        self.set_state(TABLE, self.state(TABLE).wrapping_add(1));
        record
    }

    /// Ends the live block with this handle, or does nothing. O(log): three trees' paths.
    pub fn free(&mut self, handle: u64) {
        let record = self.find(handle);
        if self.field(record, LENGTH) != 0 {
            self.free_record(record);
        }
    }

    /// Ends a live block, or notes that a register must let go of it first.
    #[inline(never)]
    pub(crate) fn free_record(&mut self, mut record: Record) {
        let place = self.field(record, PLACE);
        let handle = place.wrapping_add(HEADER);
        if self.state(OUTPUT) == handle {
            self.set_state(OUTPUT_FREED, record);
            return;
        }
        if self.state(ERROR) == handle {
            self.set_state(ERROR_FREED, record);
            return;
        }
        if self.state(INPUT) == handle {
            self.memory.set_long(INPUT, 0, 0);
        }
        let mut rank = 0;
        if self.field(record, LENGTH) <= SMALL_MAX as u32 {
            rank = SMALL;
        }
        self.set_field(record, RANK, 0);
        in_order();
        self.set_field(record, LENGTH, 0);
        let next = self.field(record, NEXT);
        rank |= self.absorb(next, next);
        let prev = self.field(record, PREV);
        let before = self.absorb(prev, record);
        if before != 0 {
            record = prev;
        }
        self.insert(record, self.size(record) | (rank | before) & SMALL);
    }

    /// If `free` is a free range, takes it out of its list, and `gone`, the right one of two
    /// neighbours, out of the row. Returns the rank of `free`, or 0.
    #[inline(never)]
    fn absorb(&mut self, free: Record, gone: Record) -> u32 {
        let rank = self.field(free, RANK);
        if self.field(free, LENGTH) != 0 || rank == 0 {
            return 0;
        }
        self.remove(free);
        let next = self.field(gone, NEXT);
        let prev = self.field(gone, PREV);
        self.set_field(prev, NEXT, next);
        self.set_field(next, PREV, prev);
        self.enter(prev, next);
        self.set_field(gone, LENGTH, 0);
        self.set_field(gone, RANK, self.state(SPARE));
        self.set_state(SPARE, gone);
        rank
    }
}
