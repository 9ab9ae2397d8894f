//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::kernel::in_order;
use crate::layout::{
    ANCHOR, ERROR, ERROR_FREED, FIRST_HANDLE, HEAD, HEADER, HOLE_END, HOLE_START, INPUT, OUTPUT,
    OUTPUT_FREED, OWNED, PAGE_BYTES, PAGE_NET, READY, SMALL_MAX, SPAN, SPARE, STATE_END, STRETCH, TABLE,
    USED,
};
use crate::record::{LENGTH, NEXT, PLACE, PREV, RANK, RECORD, Record};
use crate::{Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 4;
/// Bytes of the records of a stretch full of the smallest blocks. They are provided for when it is begun.
const STRETCH_RECORDS: u32 = (RECORD << STRETCH) / (2 * HEADER);
/// Unused bytes that only records may take: those, and some that let ranges be split when all else is full.
const RESERVE: u32 = STRETCH_RECORDS + 64 * RECORD;
/// Memory grows by the table's bytes divided by 2 to this in pages more than are needed, so that moves
/// of a large table are rare: by none below 8,192 records, and then by a quarter of the table.
const AMPLE: u32 = 18;

/// What `make_place` returns when memory cannot be had.
const REFUSED: u64 = 0;
/// What it returns when the bytes at the anchor's place are ready for the block.
const PREPARED: u64 = 1;

impl<M: Memory> Kernel<M> {
    /// Reserves `length` bytes and returns their handle, or 0.
    ///
    /// Bounded by a constant (C-1): under pressure at most 63 ranges of the request's own list and one of
    /// each larger are looked at. When memory grows the table moves; bytes that an earlier life used are
    /// cleared.
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
        let (place, distance) = self.append(length, end);
        self.set_field(place, 4, distance);
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
        if !has_space | (length > SMALL_MAX) {
            // Where nothing fits, the reads of record 0 do no harm and count for nothing.
            let fit = self.find_free(size);
            let is_due = !has_space | (self.field(fit, RANK) & SMALL == 0);
            if (fit != 0) & is_due & !self.is_kept(fit, size) {
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
        let limit = self.next_record().wrapping_sub(RESERVE);
        (self.state(HOLE_START).wrapping_sub(place) >= size)
            & (self.state(HOLE_END) <= limit)
            & (u64::from(place) + u64::from(size) <= u64::from(limit))
    }

    /// Makes the next `size` bytes clean and the table ready for more records.
    fn prepare(&mut self, size: u32) {
        let place = self.field(ANCHOR, PLACE);
        let end = place.wrapping_add(size);
        if (place ^ end) >> STRETCH != 0 {
            self.enter_next(end);
        }
        // Until all used bytes are behind, every block comes here; later, because of the index, those
        // that reach into another stretch.
        let used = self.state(USED);
        let mut ready = end;
        if place < used {
            self.memory.clear(place, end.min(used).wrapping_sub(place));
        } else {
            ready = (end | ((1 << STRETCH) - 1)).min(self.next_record().wrapping_sub(RESERVE));
        }
        self.set_state(READY, ready);
    }

    /// Asks for the pages that a block of `size` bytes needs and moves the table to their end. If
    /// others grew memory, or did before, the next block will lie behind their pages.
    fn grow(&mut self, size: u32) -> bool {
        let mut start = self.field(ANCHOR, PLACE);
        let pages = self.memory.pages();
        let owned = self.state(OWNED);
        if start <= self.state(HOLE_START) {
            start = self.state(HOLE_END);
        }
        if pages != owned {
            start = pages.wrapping_mul(PAGE_BYTES);
        }
        let table = self.state(TABLE);
        let bytes = u64::from(table)
            + u64::from(start)
            + u64::from(size)
            + u64::from(RESERVE + RECORD + PAGE_NET - 1);
        let need = ((bytes / u64::from(PAGE_NET)) as u32).max(pages);
        if !(self.memory.grow(need + (table >> AMPLE) - pages) || self.memory.grow(need - pages)) {
            return false;
        }
        // If the call is cut while links are being moved, no handle is looked up until `reset` (L-3).
        // `alloc` sets the span anew.
        self.set_state(SPAN, 0);
        in_order();
        let old = self.next_record().wrapping_add(RECORD);
        self.own(self.memory.pages());
        let new = self.next_record().wrapping_add(RECORD);
        let delta = new.wrapping_sub(old);
        let end = owned.wrapping_mul(PAGE_BYTES);
        self.memory.copy(new, old, end.wrapping_sub(old));
        self.set_state(USED, end);
        self.relink(new, self.state(HEAD).wrapping_add(RECORD), old, delta);
        self.relink(SPARE, STATE_END, old, delta);
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
            let passed = if unused <= hole { hole } else { end };
            self.memory.clear(unused, passed.wrapping_sub(unused));
            self.set_field(ANCHOR, PLACE, start);
            self.enter_next(start);
        }
        true
    }

    /// Moves the links from one address to another with the table, which lay at `old`.
    ///
    /// Links are the words that are not below the table: places, lengths and ranks all are.
    #[inline(never)]
    fn relink(&mut self, mut at: u32, end: u32, old: u32, delta: u32) {
        while at < end {
            let word = self.state(at);
            if word >= old {
                self.set_state(at, word.wrapping_add(delta));
            }
            at = at.wrapping_add(4);
        }
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output or reach
    /// into the hole.
    fn is_kept(&self, record: Record, size: u32) -> bool {
        let place = self.field(record, PLACE);
        let output = self.state(OUTPUT);
        // One of two ranges begins in the other where they meet.
        (output.wrapping_sub(place) < size)
            | (place.wrapping_sub(output) < self.state(OUTPUT + 4))
            | (place < self.state(HOLE_END)) & (self.state(HOLE_START) < place.wrapping_add(size))
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left.
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> u64 {
        let place = self.field(record, PLACE);
        let rest_size = self.size(record).wrapping_sub(size);
        self.remove(record);
        'split: {
            if rest_size < 2 * HEADER {
                break 'split;
            }
            // A record that merging gave back, or the table's next; when neither is left, the block keeps
            // the whole range.
            let mut rest = self.state(SPARE);
            if rest != 0 {
                self.set_state(SPARE, self.field(rest, RANK));
            } else {
                rest = self.next_record();
                if rest.wrapping_sub(STRETCH_RECORDS) < self.state(READY) {
                    break 'split;
                }
                self.set_state(TABLE, self.state(TABLE).wrapping_add(RECORD));
            }
            let next = self.field(record, NEXT);
            self.set_field(rest, PLACE, place.wrapping_add(size));
            self.set_field(rest, LENGTH, 0);
            self.insert(rest, rest_size | self.field(record, RANK) & SMALL);
            self.join(rest, next);
            self.join(record, rest);
        }
        self.set_field(record, LENGTH, length as u32);
        self.set_field(place, 4, self.distance(record));
        let span = place
            .wrapping_add(length as u32)
            .wrapping_sub(FIRST_HANDLE - HEADER);
        self.set_state(SPAN, span.max(self.state(SPAN)));
        u64::from(place.wrapping_add(HEADER))
    }

    /// Ends the live block with this handle, or does nothing. Bounded by a constant
    /// (C-1): a walk through one stretch, and two neighbours to merge with.
    pub fn free(&mut self, handle: u64) {
        self.free_record(self.find(handle));
    }

    /// Ends a block if it is live, or notes that a register must let go of it first.
    #[inline(never)]
    pub(crate) fn free_record(&mut self, mut record: Record) {
        let length = self.field(record, LENGTH);
        if length == 0 {
            return;
        }
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
        let mut rank = u32::from(length <= SMALL_MAX as u32) * SMALL;
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
        self.join(self.field(gone, PREV), self.field(gone, NEXT));
        self.set_field(gone, PLACE, 0);
        self.set_field(gone, RANK, self.state(SPARE));
        self.set_state(SPARE, gone);
        rank
    }
}
