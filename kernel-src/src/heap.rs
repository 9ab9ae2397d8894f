//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::layout::{
    ANCHOR_BYTES, BUSY, ERROR, ERROR_FREED, FIRST_HANDLE, FLOOR, HEADER, HOLE_COUNT, HOLES_MAX, IDLE, INPUT,
    MAX_LENGTH, MAX_PAGES, OUTPUT, OUTPUT_FREED, PAGE_BYTES, READY, ROOM, SMALL_MAX, SPAN, SPARE, TAIL, USED,
};
use crate::record::{HIGH, KEY, LENGTH, LOW, NEXT, PLACE, PREV, RANK, RECORD, Ref};
use crate::kernel::in_order;
use crate::{Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 4;
/// The table takes room for this many records at a time.
const CHUNK: u32 = 64;
/// From this many live blocks on, memory grows by more than is needed, so that moves are rare.
const MANY: u32 = 2000;

/// What the slow path of `alloc` came to.
enum Place {
    /// Memory cannot be had.
    Refused,
    /// The block has been made.
    Made(u64),
    /// The bytes at the anchor's place have been prepared for it.
    Prepared,
}

impl<M: Memory> Kernel<M> {
    /// Reserves `length` bytes and returns their handle, or 0.
    ///
    /// O(1) while there are unused bytes, else O(log) with at most 33 steps down each tree. When
    /// memory grows the table moves, and bytes that an earlier life used are cleared.
    pub fn alloc(&mut self, length: u64) -> u64 {
        let size = (length as u32).wrapping_add(HEADER + 7) & !7;
        if length.wrapping_sub(1) >= SMALL_MAX || !self.is_ready(size) {
            match self.make_place(length, size) {
                Place::Refused => return 0,
                Place::Made(handle) => return handle,
                Place::Prepared => {}
            }
        }
        let record = self.memory.word(TAIL) + RECORD;
        let end = self.memory.word(self.top()) + size;
        let place = self.append(record, length as u32, end);
        self.memory.set_word(place + 4, record);
        let handle = u64::from(place + HEADER);
        self.memory.set_long(SPAN, handle + length - u64::from(FIRST_HANDLE));
        handle
    }

    /// Whether a block of `size` bytes can be appended without preparation.
    #[inline(always)]
    fn is_ready(&self, size: u32) -> bool {
        self.field(0, PLACE) + size <= self.memory.word(READY)
            && self.memory.word(TAIL) + RECORD <= self.memory.word(ROOM)
    }

    #[inline(never)]
    #[cold]
    fn make_place(&mut self, length: u64, size: u32) -> Place {
        if length.wrapping_sub(1) >= MAX_LENGTH || self.memory.word(BUSY) != 0 {
            return Place::Refused;
        }
        if self.top() == 0 {
            self.reset();
        }
        let mut fit = self.best_fit(size);
        if self.holds_output(fit, size) {
            fit = 0;
        }
        let is_young = length <= SMALL_MAX || self.field(fit, RANK) & SMALL != 0;
        if fit != 0 && !is_young {
            return self.reuse(fit, length, size);
        }
        let mut start = self.field(0, PLACE);
        let unused = start;
        let mut place = self.behind_holes(start, size);
        if !self.has_space(place, size) {
            if fit != 0 {
                return self.reuse(fit, length, size);
            }
            // Under pressure a free range at the end counts as the beginning of the unused bytes.
            let last = self.field(0, PREV);
            if self.is_free(last) && !self.holds_output(last, size) {
                start = self.field(last, PLACE);
                place = self.behind_holes(start, size);
            }
            if !self.has_space(place, size) {
                if !self.grow(place, size) {
                    return Place::Refused;
                }
                place = self.behind_holes(start, size);
            }
            if place < unused {
                return self.reuse(last, length, size);
            }
        }
        self.pass_holes(place);
        self.prepare(place, place + size);
        Place::Prepared
    }

    /// The lowest address that the table needs, with one more record for a block and for each hole.
    fn bottom(&self) -> u32 {
        self.top() - self.memory.word(TAIL) - RECORD * (1 + self.memory.word(HOLE_COUNT))
    }

    /// Whether [place, place + size) ends below the table, and the table above the last hole.
    fn has_space(&self, place: u32, size: u32) -> bool {
        let bottom = self.bottom();
        bottom >= self.last_hole_end() && bottom >= place && bottom - place >= size
    }

    /// Makes [place, end) clean and the table ready for one more record.
    fn prepare(&mut self, place: u32, end: u32) {
        let mut floor = self.memory.word(FLOOR);
        if end > floor {
            self.memory.clear(floor, end - floor);
            floor = end;
        }
        let bottom = self.bottom();
        if bottom < floor {
            let chunk = bottom - (CHUNK - 1) * RECORD;
            floor = if chunk >= end.max(self.last_hole_end()) { chunk } else { bottom };
        }
        self.memory.set_word(FLOOR, floor);
        self.memory.set_word(ROOM, self.top() - floor);
        let used = self.memory.word(USED);
        if place < used {
            self.memory.clear(place, used.min(end) - place);
        }
        // While there are bytes to clear or holes to pass, every block takes this path.
        let is_plain = place >= used && self.memory.word(HOLE_COUNT) == 0;
        self.memory.set_word(READY, if is_plain { floor } else { end });
    }

    /// Asks for the pages that a block at `start` needs, and moves the table to their end.
    fn grow(&mut self, start: u32, size: u32) -> bool {
        let pages = self.memory.pages();
        let owned = self.top() / PAGE_BYTES + 1;
        let mut holes = self.memory.word(HOLE_COUNT);
        let mut end = u64::from(start) + u64::from(size);
        if pages != owned {
            if holes == HOLES_MAX {
                return false;
            }
            holes += 1;
            end = u64::from(pages) * u64::from(PAGE_BYTES) + u64::from(size);
        }
        let tail = self.memory.word(TAIL);
        end = end.max(u64::from(self.last_hole_end())) + u64::from(tail + RECORD * (1 + holes) + ANCHOR_BYTES);
        let need = end.div_ceil(u64::from(PAGE_BYTES));
        if need > u64::from(MAX_PAGES) {
            return false;
        }
        let need = need as u32;
        let live = tail / RECORD - self.memory.word(IDLE);
        let ample = (need + need / 8).min(MAX_PAGES);
        let mut goal = need;
        if live >= MANY && self.memory.grow(ample - pages) {
            goal = ample;
        } else if !self.memory.grow(need - pages) {
            return false;
        }
        self.set_busy(true);
        let old_top = self.top();
        self.own(goal);
        let top = self.top();
        self.memory.copy(top - tail, old_top - tail, tail + RECORD);
        in_order();
        let floor = self.memory.word(FLOOR);
        let new_floor = top - tail;
        let stale = new_floor.min(old_top + ANCHOR_BYTES);
        self.memory.clear(floor, stale - floor);
        in_order();
        self.memory.set_word(FLOOR, new_floor);
        if pages != owned {
            self.add_hole(owned, pages);
        }
        self.set_busy(false);
        true
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output.
    fn holds_output(&self, record: Ref, size: u32) -> bool {
        let place = u64::from(self.field(record, PLACE));
        let offset = self.memory.long(OUTPUT);
        place < offset + self.memory.long(OUTPUT + 8) && offset < place + u64::from(size)
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left. The last
    /// range may be too short: it then takes from the unused bytes behind it.
    fn reuse(&mut self, record: Ref, length: u64, size: u32) -> Place {
        let place = self.field(record, PLACE);
        let next = self.field(record, NEXT);
        let limit = self.field(next, PLACE);
        let end = place + size;
        if end > limit {
            self.prepare(limit, end);
        }
        self.set_busy(true);
        self.remove(record);
        if end > limit {
            self.set_field(0, PLACE, end);
        } else if limit - end >= 2 * HEADER {
            let rest = self.take_record();
            if rest != 0 {
                self.set_field(rest, PLACE, end);
                self.set_field(rest, LENGTH, 0);
                self.set_field(rest, NEXT, next);
                self.set_field(rest, PREV, record);
                self.set_field(next, PREV, rest);
                self.set_field(record, NEXT, rest);
                self.insert(LOW, rest, limit - end + (self.field(record, RANK) & SMALL));
            }
        }
        self.set_field(record, LENGTH, length as u32);
        if self.field(record, KEY) != place {
            self.insert(HIGH, record, place);
        }
        self.memory.set_word(place + 4, record);
        let handle = u64::from(place + HEADER);
        let span = handle + length - u64::from(FIRST_HANDLE);
        if span > self.memory.long(SPAN) {
            self.memory.set_long(SPAN, span);
        }
        self.memory.set_word(IDLE, self.memory.word(IDLE) - 1);
        self.set_busy(false);
        Place::Made(handle)
    }

    /// A record for a range that is not at the end: one that merging gave back, or a new one if the
    /// unused bytes have room for it, or 0.
    fn take_record(&mut self) -> Ref {
        let spare = self.memory.word(SPARE);
        if spare != 0 {
            self.memory.set_word(SPARE, self.field(spare, LOW));
            return spare;
        }
        let unused = self.field(0, PLACE);
        if !self.has_space(unused, 0) {
            return 0;
        }
        let record = self.memory.word(TAIL) + RECORD;
        let at = self.top() - record;
        if at < self.memory.word(FLOOR) {
            self.memory.set_word(FLOOR, at);
            self.memory.set_word(READY, 0);
        }
        self.memory.set_word(TAIL, record);
        self.set_field(record, KEY, unused - 4);
        self.memory.set_word(IDLE, self.memory.word(IDLE) + 1);
        record
    }

    /// Ends the live block with this handle, or does nothing. O(log), at most three trees' paths.
    pub fn free(&mut self, handle: u64) {
        let record = self.find(handle);
        if record != 0 {
            self.free_record(record);
        }
    }

    /// Ends a live block, or notes that a register must let go of it first.
    #[inline(never)]
    pub(crate) fn free_record(&mut self, mut record: Ref) {
        if self.memory.word(BUSY) != 0 {
            return;
        }
        let place = self.field(record, PLACE);
        let handle = u64::from(place + HEADER);
        if self.memory.long(OUTPUT) == handle {
            self.memory.set_word(OUTPUT_FREED, record);
            return;
        }
        if self.memory.long(ERROR) == handle {
            self.memory.set_word(ERROR_FREED, record);
            return;
        }
        if self.memory.long(INPUT).wrapping_sub(handle) < u64::from(self.size(record)) {
            self.memory.set_long(INPUT, 0);
            self.memory.set_long(INPUT + 8, 0);
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
        self.memory.set_word(IDLE, self.memory.word(IDLE) + 1);
        let next = self.field(record, NEXT);
        if self.is_free(next) {
            age |= self.absorb(next, next);
        }
        let prev = self.field(record, PREV);
        if self.is_free(prev) {
            age |= self.absorb(prev, record);
            record = prev;
        }
        self.insert(LOW, record, self.size(record) | age);
        self.set_busy(false);
    }

    /// Takes `free` out of its tree and `gone` out of the row; returns the age bit of `free`.
    fn absorb(&mut self, free: Ref, gone: Ref) -> u32 {
        self.remove(free);
        let age = self.field(free, RANK) & SMALL;
        let next = self.field(gone, NEXT);
        let prev = self.field(gone, PREV);
        self.set_field(prev, NEXT, next);
        self.set_field(next, PREV, prev);
        self.set_field(gone, RANK, 0);
        self.set_field(gone, LOW, self.memory.word(SPARE));
        self.memory.set_word(SPARE, gone);
        age
    }
}
