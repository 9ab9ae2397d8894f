//! `alloc` and `free`: which bytes a block gets, and what becomes of them.

use crate::kernel::in_order;
use crate::layout::{FIRST_HANDLE, HEADER, SMALL_MAX, STRETCH};
use crate::memory::{Global, WideGlobal};
use crate::record::{LENGTH, NEXT, PLACE, PREV, RANK, RECORD, Record, SPARE};
use crate::{Handle, Kernel, Memory};

/// Set in the rank of a range that holds a small block: it is reused only under pressure.
const SMALL: u32 = 1;
/// Bytes of the records of a stretch full of the smallest blocks: as many as the blocks have.
const STRETCH_RECORDS: u32 = (RECORD << STRETCH) / (2 * HEADER);
/// Unused bytes that only records may take: that of the next block, and some that let ranges be split when
/// all else is full.
pub const RESERVE: u32 = 65 * RECORD;

/// The handle of the block whose header is at `place`.
#[inline(always)]
fn handle(place: u32) -> Handle {
    Handle::new(u64::from(place.wrapping_add(HEADER)))
}

/// Bytes from the first handle to the end of the block whose header is at `place`.
#[inline(always)]
fn span(place: u32, length: u64) -> u64 {
    u64::from(
        place
            .wrapping_add(HEADER)
            .wrapping_add(length as u32)
            .wrapping_sub(FIRST_HANDLE),
    )
}

impl<M: Memory> Kernel<M> {
    /// Reserves `length` bytes and returns their handle, or 0.
    ///
    /// Bounded by a constant (C-1) but for what grows with memory: the table moves, and bytes that were used
    /// before `reset` are cleared.
    #[inline(always)]
    pub fn alloc(&mut self, length: u64) -> Handle {
        let size = (length as u32).wrapping_add(HEADER + 15) & !15;
        let mut place = self.field(self.anchor(), PLACE);
        if (place.wrapping_add(size) > self.get(Global::Ready)) | (length.wrapping_sub(1) >= SMALL_MAX) {
            match self.make_place(length, size) {
                Ok(ready) => place = ready,
                Err(handle) => return handle,
            }
        }
        let record = self.append(place, length, place.wrapping_add(size));
        // The span comes first: it says what is to be cleared if the call is cut here (L-3).
        self.set_wide(WideGlobal::Span, span(place, length));
        self.memory.set_word(place, 4, self.get(Global::Table));
        self.set(Global::Table, self.get(Global::Table).wrapping_add(RECORD));
        in_order();
        self.set_link(self.anchor(), PREV, record);
        handle(place)
    }

    /// The slow path of `alloc`: the bytes at the anchor's place are ready for the block, or what else to return.
    #[inline(always)]
    fn make_place(&mut self, length: u64, size: u32) -> Result<u32, Handle> {
        // A size that wrapped is small, and so is that of 0 bytes.
        if (length >> 32) as u32 | u32::from(size < 2 * HEADER) != 0 {
            return Err(Handle::NONE);
        }
        // A fresh instance, or a call that was cut half-way.
        if self.get(Global::Ready) == 0 {
            self.reset();
        }
        loop {
            let place = self.field(self.anchor(), PLACE);
            let mut start = place;
            let mut has_space;
            loop {
                has_space = self.has_space(start, size);
                // (If a growth was cut, this may be above the anchor: then memory has more pages than the kernel
                // knows of, and growth begins behind them.)
                let hole_end = self.get(Global::HoleEnd);
                if has_space | (start >= hole_end) {
                    break;
                }
                start = hole_end;
            }
            if !has_space | (length > SMALL_MAX) {
                // Of two that the output lies in no third is looked for: a guest can make them many (C-1).
                let mut other = Record::NONE;
                loop {
                    let fit = self.find_free(size, other);
                    if fit == self.anchor() || (has_space & (self.field(fit, RANK) & SMALL != 0)) {
                        break;
                    }
                    if !self.is_output(fit, size) {
                        return Err(self.reuse(fit, length, size));
                    }
                    if other != Record::NONE {
                        break;
                    }
                    other = fit;
                }
            }
            if has_space {
                if start != place {
                    self.pass();
                }
                self.prepare(start, size);
                return Ok(start);
            }
            if !self.grow(start, size) {
                return Err(Handle::NONE);
            }
        }
    }

    /// Whether a block of `size` more bytes fits into the unused bytes, which end below the table and its
    /// reserve, or below others' pages; and whether records do, which must stay above those.
    #[inline(always)]
    fn has_space(&self, place: u32, size: u32) -> bool {
        let kept = self.get(Global::Table).wrapping_add(RESERVE);
        let limit = self.anchor().at().wrapping_sub(kept);
        // A hole that is above the anchor, because a growth was cut, wraps and does not count.
        (self.get(Global::HoleStart).wrapping_sub(place) >= size)
            & (self.anchor().at().wrapping_sub(self.get(Global::HoleEnd)) >= kept)
            & (u64::from(place) + u64::from(size) <= u64::from(limit))
    }

    /// Makes the next `size` bytes clean and the table ready for more records.
    fn prepare(&mut self, place: u32, size: u32) {
        let end = place.wrapping_add(size);
        let record = self.next_record();
        self.set_field(record, PLACE, place);
        self.enter(record, end);
        self.wipe(place, end.min(self.get(Global::Used)));
        self.wipe(place.max(self.get(Global::Dirty)), end);
        // The stretch, where all of it is clean and there is room for its records: others' pages begin stretches.
        self.set(Global::Ready, end);
        let ready = end.wrapping_sub(1) | ((1 << STRETCH) - 1);
        if end >= self.get(Global::Used)
            && ready <= self.get(Global::Dirty)
            && ready.wrapping_add(RESERVE + STRETCH_RECORDS) <= self.next_record().at()
        {
            self.set(Global::Ready, ready);
        }
    }

    /// Clears from one address to another, if there is anything between.
    #[inline(never)]
    pub(crate) fn wipe(&mut self, start: u32, end: u32) {
        if start < end {
            self.memory.fill(start, 0, end.wrapping_sub(start));
        }
    }

    /// Whether a block of `size` bytes at the record's place would lie over the output.
    #[inline(always)]
    fn is_output(&self, record: Record, size: u32) -> bool {
        let place = self.field(record, PLACE);
        let offset = self.output_offset().get() as u32;
        let length = self.output_length() as u32;
        // The distance from the first byte of the output to the last of the block.
        place.wrapping_add(size - 1).wrapping_sub(offset) < length.wrapping_add(size - 1)
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left.
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> Handle {
        let ready = self.get(Global::Ready);
        self.set(Global::Ready, 0);
        let place = self.field(record, PLACE);
        let rest_size = self.size(record).wrapping_sub(size);
        self.remove(record);
        'split: {
            if rest_size < 2 * HEADER {
                break 'split;
            }
            // A record that merging gave back, or the table's next; when neither is left, the block keeps
            // the whole range.
            let mut rest = self.link(self.anchor(), SPARE);
            if rest != Record::NONE {
                self.set_field(self.anchor(), SPARE, self.field(rest, PLACE));
            } else {
                rest = self.next_record();
                // What is ready needs its records; and all stay above others' pages.
                let unused = self.field(self.anchor(), PLACE);
                if rest.at().wrapping_sub(ready.wrapping_sub(unused)) <= ready.max(self.get(Global::HoleEnd))
                {
                    break 'split;
                }
                self.set(Global::Table, self.get(Global::Table).wrapping_add(RECORD));
            }
            self.set_field(rest, PLACE, place.wrapping_add(size));
            self.set_field(rest, LENGTH, 0);
            self.insert(rest, rest_size | self.field(record, RANK) & SMALL);
            self.join(rest, self.link(record, NEXT));
            self.join(record, rest);
        }
        self.memory.set_long(record.at(), LENGTH, length);
        self.memory.set_word(place, 4, self.distance(record));
        let span = span(place, length);
        if span > self.memory.wide_global(WideGlobal::Span) {
            self.set_wide(WideGlobal::Span, span);
        }
        self.set(Global::Ready, ready);
        handle(place)
    }

    /// Ends the live block with this handle, or does nothing. Bounded by a constant (C-1).
    #[inline(never)]
    pub fn free(&mut self, handle: Handle) {
        let mut record = self.find(handle);
        let length = self.field(record, LENGTH);
        let ready = self.get(Global::Ready);
        if length == 0 || ready == 0 {
            return;
        }
        if self.output_offset() == handle.address() {
            self.set_wide(WideGlobal::OutputFreed, handle.get());
            return;
        }
        if self.error_get() == handle {
            self.set_wide(WideGlobal::ErrorFreed, handle.get());
            return;
        }
        if self.input_offset() == handle.address() {
            self.set_wide(WideGlobal::InputLength, 0);
        }
        self.set(Global::Ready, 0);
        let mut rank = u32::from(length <= SMALL_MAX as u32);
        let next = self.link(record, NEXT);
        rank |= self.absorb(next, next);
        let prev = self.link(record, PREV);
        let before = self.absorb(prev, record);
        if before != 0 {
            record = prev;
        }
        let size = self.size(record);
        self.insert(record, size | (rank | before) & SMALL);
        self.set(Global::Ready, ready);
    }

    /// If `free` is a free range, takes it out of the trie, and `gone`, the right one of two
    /// neighbours, out of the row. Returns the rank of `free`, or 0.
    #[inline(never)]
    fn absorb(&mut self, free: Record, gone: Record) -> u32 {
        let rank = self.field(free, RANK);
        if rank == 0 {
            return 0;
        }
        self.remove(free);
        self.join(self.link(gone, PREV), self.link(gone, NEXT));
        self.set_field(gone, PLACE, self.field(self.anchor(), SPARE));
        in_order();
        self.set_link(self.anchor(), SPARE, gone);
        rank
    }
}
