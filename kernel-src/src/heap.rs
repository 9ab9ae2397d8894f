//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::kernel::in_order;
use crate::layout::{
    ANCHOR, BUSY, ERROR, ERROR_FREED, FIRST_HANDLE, FLOOR, GOAL, HEAD, HEADER, HOLE_END, HOLE_START, IDLE, INPUT,
    MAX_LENGTH, MAX_PAGES, OUTPUT, OUTPUT_FREED, PAGE_BYTES, READY, SMALL_MAX, SPAN, SPARE, TABLE, USED,
};
use crate::record::{HIGH, KEY, LENGTH, LOW, NEXT, PLACE, PREV, RANK, RECORD, Record};
use crate::{Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 4;
/// The table takes room for this many records at a time.
const CHUNK: u32 = 64;
/// From this many live blocks on, memory grows by more than is needed, so that moves are rare.
const MANY: u32 = 2000;

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
        let size = (length as u32).wrapping_add(HEADER + 7) & !7;
        if length.wrapping_sub(1) >= SMALL_MAX || !self.is_ready(size) {
            let handle = self.make_place(length, size);
            if handle != PREPARED {
                return handle;
            }
        }
        let end = self.field(ANCHOR, PLACE).wrapping_add(size);
        let (place, distance) = self.append(length as u32, end);
        self.set_field(place, 4, distance);
        self.memory.set_long(SPAN, 0, u64::from(place) + length - u64::from(FIRST_HANDLE - HEADER));
        u64::from(place.wrapping_add(HEADER))
    }

    /// Whether a block of `size` bytes can be appended without preparation.
    #[inline(always)]
    fn is_ready(&self, size: u32) -> bool {
        self.field(ANCHOR, PLACE).wrapping_add(size) <= self.state(READY)
            && self.state(HEAD).wrapping_sub(self.state(TABLE)) >= self.state(FLOOR)
    }

    /// The slow path of `alloc`: a handle, [`REFUSED`] or [`PREPARED`].
    #[inline(never)]
    #[cold]
    fn make_place(&mut self, length: u64, size: u32) -> u64 {
        if length.wrapping_sub(1) >= MAX_LENGTH || self.state(BUSY) != 0 {
            return REFUSED;
        }
        if self.state(HEAD) == 0 {
            self.reset();
        }
        let mut fit = self.best_fit(size);
        if fit != 0 && self.holds_output(fit, size) {
            fit = 0;
        }
        let unused = self.field(ANCHOR, PLACE);
        let mut place = unused;
        if fit != 0 {
            let is_old = length > SMALL_MAX && self.field(fit, RANK) & SMALL == 0;
            if is_old || !self.has_space(place, size) {
                return self.reuse(fit, length, size);
            }
        } else if !self.has_space(place, size) {
            // Under pressure a free range at the end counts as the beginning of the unused bytes.
            let last = self.field(ANCHOR, PREV);
            if self.is_free(last) && !self.holds_output(last, size) {
                place = self.field(last, PLACE);
            }
            if !self.has_space(place, size) {
                place = self.grow(place, size);
                if place == 0 {
                    return REFUSED;
                }
            }
            if place < unused {
                return self.reuse(last, length, size);
            }
            if place != unused {
                self.append(0, place);
                self.count_idle(1);
            }
        }
        self.prepare(place, place.wrapping_add(size));
        PREPARED
    }

    fn count_idle(&mut self, change: u32) {
        self.set_state(IDLE, self.state(IDLE).wrapping_add(change));
    }

    /// The lowest address that the table needs with two more records: a block's and a hole's.
    fn bottom(&self) -> u32 {
        self.state(HEAD).wrapping_sub(self.state(TABLE)).wrapping_sub(RECORD)
    }

    /// Whether a block of `size` bytes at `place` ends below the table, or below the hole.
    fn has_space(&self, place: u32, size: u32) -> bool {
        let bottom = self.bottom();
        let hole = self.state(HOLE_START);
        let end = if place < hole { hole } else { bottom };
        bottom >= self.state(HOLE_END) && end >= place && end.wrapping_sub(place) >= size
    }

    /// Makes [place, end) clean and the table ready for one more record.
    fn prepare(&mut self, place: u32, end: u32) {
        let mut floor = self.state(FLOOR);
        if end > floor {
            self.memory.clear(floor, end.wrapping_sub(floor));
            floor = end;
        }
        let bottom = self.bottom();
        if bottom < floor {
            floor = bottom.wrapping_sub(CHUNK * RECORD);
            if floor < end.max(self.state(HOLE_END)) {
                floor = bottom;
            }
        }
        self.set_state(FLOOR, floor);
        let mut ready = floor;
        let hole = self.state(HOLE_START);
        if place < hole {
            ready = hole;
        }
        let used = self.state(USED);
        if place < used {
            self.memory.clear(place, used.min(end).wrapping_sub(place));
            // Until all used bytes are behind, every block comes here.
            ready = end;
        }
        self.set_state(READY, ready);
    }

    /// Asks for the pages that a block needs at `start`, or behind the hole, and moves the table to
    /// their end. Returns where the block can be, or 0.
    fn grow(&mut self, mut start: u32, size: u32) -> u32 {
        let pages = self.memory.pages();
        let head = self.state(HEAD);
        let owned = head / PAGE_BYTES + 1;
        if start < self.state(HOLE_START) {
            start = self.state(HOLE_END);
        }
        if pages != owned {
            start = pages.wrapping_mul(PAGE_BYTES);
        }
        let table = self.state(TABLE);
        let bytes = u64::from(start) + u64::from(size) + u64::from(table) + u64::from(2 * RECORD);
        let need = bytes.div_ceil(u64::from(PAGE_BYTES));
        if need > u64::from(MAX_PAGES) {
            return 0;
        }
        let mut goal = need as u32;
        if goal <= pages {
            return start;
        }
        if table / RECORD - self.state(IDLE) >= MANY {
            goal = (goal + goal / 8).min(MAX_PAGES);
        }
        loop {
            self.set_state(GOAL, goal);
            in_order();
            if self.memory.grow(goal - pages) {
                break;
            }
            if goal == need as u32 {
                return 0;
            }
            goal = need as u32;
        }
        self.set_busy(true);
        self.own(goal);
        let old = head.wrapping_add(RECORD).wrapping_sub(table);
        let new = self.state(HEAD).wrapping_add(RECORD).wrapping_sub(table);
        self.memory.copy(new, old, table);
        in_order();
        let floor = self.state(FLOOR);
        let stale = new.min(head.wrapping_add(RECORD));
        self.memory.clear(floor, stale.wrapping_sub(floor));
        in_order();
        self.set_state(FLOOR, new);
        self.relink(new, table, old);
        self.relink(ANCHOR, RECORD, old);
        if pages != owned {
            if self.state(HOLE_START) == 0 {
                self.set_state(HOLE_START, owned.wrapping_mul(PAGE_BYTES));
            }
            self.set_state(HOLE_END, start);
        }
        self.set_busy(false);
        start
    }

    /// Moves the links among `count` bytes of records with the table, which lay at `old`.
    ///
    /// Links are the words that are not below the table: places, lengths and ranks all are.
    fn relink(&mut self, start: u32, count: u32, old: u32) {
        let delta = self.state(HEAD).wrapping_sub(old);
        let mut offset = 0;
        while offset < count {
            let at = start.wrapping_add(offset);
            let word = self.state(at);
            if word >= old {
                self.set_state(at, word.wrapping_add(delta));
            }
            offset += 4;
        }
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output.
    fn holds_output(&self, record: Record, size: u32) -> bool {
        let place = u64::from(self.field(record, PLACE));
        let offset = self.memory.long(OUTPUT, 0);
        place < offset + self.memory.long(OUTPUT, 8) && offset < place + u64::from(size)
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left. The last
    /// range may be too short: it then takes from the unused bytes behind it.
    #[inline(never)]
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> u64 {
        let place = self.field(record, PLACE);
        let next = self.field(record, NEXT);
        let limit = self.field(next, PLACE);
        let end = place.wrapping_add(size);
        if end > limit {
            self.prepare(limit, end);
        }
        self.set_busy(true);
        self.remove(record);
        if end > limit {
            self.set_field(ANCHOR, PLACE, end);
        } else if end != limit {
            let rest = self.take_record();
            if rest != 0 {
                self.set_field(rest, PLACE, end);
                self.set_field(rest, LENGTH, 0);
                self.set_field(rest, NEXT, next);
                self.set_field(rest, PREV, record);
                self.set_field(next, PREV, rest);
                self.set_field(record, NEXT, rest);
                let age = self.field(record, RANK) & SMALL;
                self.insert(ANCHOR + LOW, rest, limit.wrapping_sub(end) | age);
            }
        }
        self.set_field(record, LENGTH, length as u32);
        if self.field(record, KEY) != place {
            self.insert(ANCHOR + HIGH, record, place);
        }
        self.set_field(place, 4, self.state(HEAD).wrapping_sub(record));
        let handle = u64::from(place.wrapping_add(HEADER));
        let span = handle + length - u64::from(FIRST_HANDLE);
        if span > self.memory.long(SPAN, 0) {
            self.memory.set_long(SPAN, 0, span);
        }
        self.count_idle(u32::MAX);
        self.set_busy(false);
        handle
    }

    /// A record for a range that is not at the end: one that merging gave back, or a new one if the
    /// unused bytes have room for it, or 0.
    fn take_record(&mut self) -> Record {
        let spare = self.state(SPARE);
        if spare != 0 {
            self.set_state(SPARE, self.field(spare, LOW));
            return spare;
        }
        let unused = self.field(ANCHOR, PLACE);
        let table = self.state(TABLE);
        let record = self.state(HEAD).wrapping_sub(table);
        if !self.has_space(unused, 0) {
            return 0;
        }
        if record < self.state(FLOOR) {
            self.set_state(FLOOR, record);
            self.set_state(READY, 0);
        }
        self.set_state(TABLE, table.wrapping_add(RECORD));
        self.set_field(record, KEY, unused - 4);
        self.count_idle(1);
        record
    }

    /// Ends the live block with this handle, or does nothing. O(log): three trees' paths.
    pub fn free(&mut self, handle: u64) {
        let record = self.find(handle);
        if record != 0 {
            self.free_record(record);
        }
    }

    /// Ends a live block, or notes that a register must let go of it first.
    #[inline(never)]
    pub(crate) fn free_record(&mut self, mut record: Record) {
        if self.state(BUSY) != 0 {
            return;
        }
        let place = self.field(record, PLACE);
        let handle = u64::from(place.wrapping_add(HEADER));
        if self.memory.long(OUTPUT, 0) == handle {
            self.set_state(OUTPUT_FREED, record);
            return;
        }
        if self.memory.long(ERROR, 0) == handle {
            self.set_state(ERROR_FREED, record);
            return;
        }
        if self.memory.long(INPUT, 0).wrapping_sub(handle) < u64::from(self.size(record)) {
            self.memory.set_long(INPUT, 0, 0);
            self.memory.set_long(INPUT, 8, 0);
        }
        self.set_busy(true);
        let mut age = 0;
        if u64::from(self.field(record, LENGTH)) <= SMALL_MAX {
            age = SMALL;
        }
        if self.field(record, KEY) != place {
            self.remove(record);
        }
        self.set_field(record, LENGTH, 0);
        self.count_idle(1);
        let next = self.field(record, NEXT);
        if self.is_free(next) {
            age |= self.absorb(next, next);
        }
        let prev = self.field(record, PREV);
        if self.is_free(prev) {
            age |= self.absorb(prev, record);
            record = prev;
        }
        self.insert(ANCHOR + LOW, record, self.size(record) | age);
        self.set_busy(false);
    }

    /// Takes `free` out of its tree and `gone` out of the row; returns the age of `free`.
    #[inline(never)]
    fn absorb(&mut self, free: Record, gone: Record) -> u32 {
        self.remove(free);
        let age = self.field(free, RANK) & SMALL;
        let next = self.field(gone, NEXT);
        let prev = self.field(gone, PREV);
        self.set_field(prev, NEXT, next);
        self.set_field(next, PREV, prev);
        self.set_field(gone, RANK, 0);
        self.set_field(gone, LOW, self.state(SPARE));
        self.set_state(SPARE, gone);
        age
    }
}
