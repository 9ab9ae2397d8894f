//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::kernel::in_order;
use crate::layout::{
    ANCHOR, ERROR, ERROR_FREED, FIRST_HANDLE, FLOOR, GOAL, HEAD, HEADER, HOLE_END, HOLE_START, INPUT, MAX_LENGTH,
    MAX_PAGES, OUTPUT, OUTPUT_FREED, PAGE_BYTES, READY, SMALL_MAX, SPAN, SPARE, TABLE, USED,
};
use crate::record::{KEY, LENGTH, LOW, NEXT, PLACE, PREV, RANK, RECORD, Record};
use crate::tree::{FREE_ROOT, SPLIT_ROOT};
use crate::{Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 4;
/// Unused bytes that only records may take: they let ranges be split when all else is full.
const RESERVE: u32 = 64 * RECORD;
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
        let ready = self.state(READY);
        self.field(ANCHOR, PLACE).wrapping_add(size) <= ready && self.next_record() >= ready
    }

    /// Where the next record of the table will be.
    #[inline(always)]
    fn next_record(&self) -> Record {
        self.state(HEAD).wrapping_sub(self.state(TABLE))
    }

    /// The slow path of `alloc`: a handle, [`REFUSED`] or [`PREPARED`].
    #[inline(never)]
    #[cold]
    fn make_place(&mut self, length: u64, size: u32) -> u64 {
        if length.wrapping_sub(1) >= MAX_LENGTH {
            return REFUSED;
        }
        if self.state(HEAD) == 0 {
            self.reset();
        }
        let place = self.field(ANCHOR, PLACE);
        let has_space = self.has_space(place, size);
        let fit = self.best_fit(size);
        if fit != 0
            && (!has_space || length > SMALL_MAX && self.field(fit, RANK) & SMALL == 0)
            && !self.holds_output(fit, size)
        {
            return self.reuse(fit, length, size);
        }
        if !has_space && !self.grow(size) {
            return REFUSED;
        }
        self.prepare(size);
        PREPARED
    }

    /// Whether a block of `size` bytes at `place` ends below the table and its reserve, or below the
    /// hole.
    fn has_space(&self, place: u32, size: u32) -> bool {
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
        let used = self.state(USED).min(end);
        self.clear(place, used);
        let floor = self.state(FLOOR);
        self.clear(floor, end);
        self.set_state(FLOOR, floor.max(end));
        let mut ready = end;
        // Until all used bytes and the hole are behind, every block comes here.
        if place >= self.state(HOLE_START) && used != end {
            ready = self.state(FLOOR).min(self.next_record().wrapping_sub(RESERVE));
        }
        self.set_state(READY, ready);
    }

    /// Clears the bytes from `start` to `end`, if there are any.
    #[inline(never)]
    fn clear(&mut self, start: u32, end: u32) {
        if start < end {
            self.memory.clear(start, end.wrapping_sub(start));
        }
    }

    /// Asks for the pages that a block of `size` bytes needs and moves the table to their end. If
    /// others grew memory, or did before, the next block will lie behind their pages.
    fn grow(&mut self, size: u32) -> bool {
        let mut start = self.field(ANCHOR, PLACE);
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
        let bytes = u64::from(start) + u64::from(size) + u64::from(table) + u64::from(RESERVE + 2 * RECORD);
        let need = (bytes.div_ceil(u64::from(PAGE_BYTES)) as u32).max(pages);
        if need > MAX_PAGES {
            return false;
        }
        let mut goal = (need + (table >> AMPLE)).min(MAX_PAGES);
        loop {
            self.set_state(GOAL, goal);
            in_order();
            if self.memory.grow(goal - pages) {
                break;
            }
            if goal == need {
                return false;
            }
            goal = need;
        }
        self.own(goal);
        let old = head.wrapping_add(RECORD).wrapping_sub(table);
        let new = self.next_record().wrapping_add(RECORD);
        self.memory.copy(new, old, table);
        self.clear(old.min(self.state(FLOOR)), new.min(head.wrapping_add(RECORD)));
        in_order();
        self.set_state(FLOOR, u32::MAX);
        self.relink(new, table, old);
        self.relink(ANCHOR - 12, RECORD + 12, old);
        if pages != owned {
            if self.state(HOLE_START) == 0 {
                self.set_state(HOLE_START, owned.wrapping_mul(PAGE_BYTES));
            }
            self.set_state(HOLE_END, start);
        }
        if start != self.field(ANCHOR, PLACE) {
            self.set_field(self.next_record(), RANK, 0);
            self.append(0, start);
        }
        true
    }

    /// Moves the links among `count` bytes of records with the table, which lay at `old`.
    ///
    /// Links are the words that are not below the table: places, lengths and ranks all are.
    #[inline(never)]
    fn relink(&mut self, mut at: u32, count: u32, old: u32) {
        let end = at.wrapping_add(count);
        while at < end {
            let word = self.state(at);
            if word >= old {
                let delta = self.next_record().wrapping_add(RECORD).wrapping_sub(old);
                self.set_state(at, word.wrapping_add(delta));
            }
            at = at.wrapping_add(4);
        }
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output.
    fn holds_output(&self, record: Record, size: u32) -> bool {
        let place = u64::from(self.field(record, PLACE));
        let offset = self.memory.long(OUTPUT, 0);
        place < offset + self.memory.long(OUTPUT, 8) && offset < place + u64::from(size)
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left.
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> u64 {
        let place = self.field(record, PLACE);
        let rest_size = self.size(record).wrapping_sub(size);
        self.remove(FREE_ROOT, record);
        if rest_size != 0 {
            let rest = self.take_record();
            if rest != 0 {
                let next = self.field(record, NEXT);
                self.set_field(rest, PLACE, place.wrapping_add(size));
                self.memory.set_long(rest, LENGTH, u64::from(next) << 32);
                self.set_field(rest, PREV, record);
                self.insert(FREE_ROOT, rest, rest_size | self.field(record, RANK) & SMALL);
                in_order();
                self.set_field(next, PREV, rest);
                self.set_field(record, NEXT, rest);
            }
        }
        self.set_field(record, LENGTH, length as u32);
        if self.field(record, KEY) != place {
            self.insert(SPLIT_ROOT, record, place);
        }
        self.set_field(place, 4, self.state(HEAD).wrapping_sub(record));
        let handle = place.wrapping_add(HEADER);
        let span = u64::from(handle) + length - u64::from(FIRST_HANDLE);
        self.memory.set_long(SPAN, 0, span.max(self.memory.long(SPAN, 0)));
        u64::from(handle)
    }

    /// A record for a range that is not at the end: one that merging gave back, or one of the
    /// reserve, or 0.
    #[inline(always)]
    fn take_record(&mut self) -> Record {
        let spare = self.state(SPARE);
        if spare != 0 {
            self.set_state(SPARE, self.field(spare, LOW));
            return spare;
        }
        let record = self.next_record();
        if record < self.state(READY) {
            return 0;
        }
        self.set_state(TABLE, self.state(TABLE).wrapping_add(RECORD));
        self.set_field(record, KEY, self.field(ANCHOR, PLACE) - 4);
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
        if self.memory.long(INPUT, 0) == handle {
            self.memory.clear(INPUT, 16);
        }
        let mut age = 0;
        if self.field(record, LENGTH) <= SMALL_MAX as u32 {
            age = SMALL;
        }
        if self.field(record, KEY) != place {
            self.remove(SPLIT_ROOT, record);
        }
        self.set_field(record, RANK, 0);
        in_order();
        self.set_field(record, LENGTH, 0);
        let next = self.field(record, NEXT);
        if self.is_free(next) {
            age |= self.absorb(next, next);
        }
        let prev = self.field(record, PREV);
        if self.is_free(prev) {
            age |= self.absorb(prev, record);
            record = prev;
        }
        self.insert(FREE_ROOT, record, self.size(record) | age);
    }

    /// Takes `free` out of its tree and `gone`, the right one of two neighbours, out of the row.
    /// Returns the age of `free`.
    #[inline(never)]
    fn absorb(&mut self, free: Record, gone: Record) -> u32 {
        self.remove(FREE_ROOT, free);
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
