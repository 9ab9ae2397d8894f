//! `alloc` and `free`: which bytes a block gets, and what becomes of them. Nothing here has a loop: what must be found
//! is where a bit or a link says (C-1).

use crate::layout::{FIRST_HANDLE, HEADER, HINT, LENGTH_MAX, RECORD, RESERVE, SMALL_MAX};
use crate::memory::{Global, WideGlobal};
use crate::record::{FREE, LENGTH, Link, MARK, NEXT, PLACE, PREV, Record, SMALL};
use crate::{Address, Handle, Kernel, Memory};

/// Bytes that are cleared beyond a block, where earlier lives left some, so that the next blocks need not be.
const AHEAD: u32 = 1024;

impl<M: Memory> Kernel<M> {
    /// The record of the live block with this handle, or the anchor, whose length is 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so a record is believed only if it
    /// lies in the table and names this block; if not, the handle is dead.
    pub(crate) fn find(&self, handle: Handle) -> Record {
        let head = self.head();
        if self.is_handed_out(Address(handle.0)) {
            let place = handle.0 as u32;
            let link = self.memory.word(place.wrapping_sub(HINT), 0);
            let record = Record::new(head, link);
            if link < self.memory.get(Global::Table)
                && link % RECORD == 0
                && self.field(record, PLACE) == place
            {
                return record;
            }
        }
        Record::new(head, 0)
    }

    /// The length of the live block with this handle, or 0.
    #[inline(always)]
    pub fn length(&self, handle: Handle) -> u64 {
        u64::from(self.field(self.find(handle), LENGTH))
    }

    /// Reserves `length` bytes and returns their handle, or 0. Bounded by a constant but for bytes that are
    /// cleared or copied (C-1).
    pub fn alloc(&mut self, length: u64) -> Handle {
        let size = (length as u32).wrapping_add(HEADER + 15) & !15;
        let mut last = self.last();
        let mut place = self.field(last, PLACE);
        if (place.wrapping_add(size) > self.memory.get(Global::Ready)) | (length.wrapping_sub(1) >= SMALL_MAX)
        {
            match self.make_place(length, size) {
                Ok(ready) => (last, place) = ready,
                Err(handle) => return handle,
            }
        }
        self.memory.set_word(place.wrapping_sub(HINT), 0, self.memory.get(Global::Table));
        self.append(last, length as u32, place.wrapping_add(size));
        self.hand_out(span(place, length));
        Handle(u64::from(place))
    }

    /// Says that more was handed out.
    #[inline(always)]
    fn hand_out(&mut self, span: u64) {
        self.memory.set_wide(WideGlobal::Span, span);
        self.memory.set_wide(WideGlobal::Whole, span.saturating_sub(7));
    }

    /// The slow path of `alloc`: the last record and its place, ready for the block, or what else to return.
    #[inline(always)]
    fn make_place(&mut self, length: u64, size: u32) -> Result<(Record, u32), Handle> {
        if length.wrapping_sub(1) >= LENGTH_MAX {
            return Err(Handle(0));
        }
        // A fresh instance, or a call that was cut half-way (L-3).
        if self.memory.get(Global::Ready) == 0 {
            self.reset();
        }
        let last = self.last();
        let mut place = self.field(last, PLACE);
        let hole_end = self.memory.get(Global::HoleEnd);
        if place < hole_end && place.wrapping_add(size) > self.memory.get(Global::HoleStart) {
            place = hole_end.wrapping_add(HEADER);
        }
        // An end that wraps is below the place, and no memory has room for it.
        let end = place.wrapping_add(size);
        let has_space = (end > place) & (end.max(hole_end) <= last.0.wrapping_sub(RESERVE));
        if !has_space | (length > SMALL_MAX) {
            let fit = self.find_free(size);
            if fit != Record::NONE && (!has_space || self.field(fit, PLACE) & SMALL == 0) {
                return Err(self.reuse(fit, length, size));
            }
        }
        if !has_space {
            place = self.grow(place, size);
            if place == 0 {
                return Err(Handle(0));
            }
        }
        let mut last = self.last();
        let unused = self.field(last, PLACE);
        if unused != place {
            // Pages of others are passed over, and what is unused before them: it can be read from now on.
            self.wipe(unused, self.memory.get(Global::HoleStart).min(self.memory.get(Global::Used)));
            self.append(last, 0, place);
            last = Record::new(last.0, RECORD);
        }
        self.prepare(last, place, place.wrapping_add(size));
        Ok((last, place))
    }

    /// Makes the bytes of a block clean, and says how far the next ones are, and have room for their records.
    #[inline(always)]
    fn prepare(&mut self, last: Record, place: u32, end: u32) {
        let hole_end = self.memory.get(Global::HoleEnd);
        let used = self.memory.get(Global::Used);
        let dirty = self.memory.get(Global::Dirty);
        // Half the room is for the records of the smallest blocks in the other half, and to spare.
        let floor = last.0.wrapping_sub(RESERVE - RECORD);
        let mut ready = floor.wrapping_sub(end.max(hole_end)) >> 1;
        if end < used {
            ready = ready.min(AHEAD);
        }
        ready = ready.wrapping_add(end);
        ready = ready.min(if place < hole_end { self.memory.get(Global::HoleStart) } else { dirty });
        ready = ready.max(end);
        self.wipe(place, ready.min(used));
        self.wipe(place.max(dirty), ready);
        self.memory.set(Global::Ready, ready);
    }

    /// Clears from one address to another, if there is anything between.
    pub(crate) fn wipe(&mut self, start: u32, end: u32) {
        if start < end {
            self.memory.fill(start, 0, end.wrapping_sub(start));
        }
    }

    /// Makes a block at the beginning of a free range, and a smaller range of what is left.
    fn reuse(&mut self, record: Record, length: u64, size: u32) -> Handle {
        self.memory.set(Global::Ready, 0);
        let marked = self.field(record, PLACE);
        let place = marked & !MARK;
        let left = self.size(record).wrapping_sub(size);
        self.remove(record);
        let head = self.head();
        if left >= 2 * HEADER {
            let mut rest = self.memory.get(Global::Spare);
            if rest != 0 {
                self.memory.set(Global::Spare, self.field(Record::new(head, rest), NEXT));
            } else {
                rest = self.split_last();
            }
            // Without a record for the rest the block keeps the whole range.
            if rest != 0 {
                let rest_record = Record::new(head, rest);
                self.join(rest_record, self.field(record, NEXT));
                self.join(record, rest);
                self.insert(rest_record, marked.wrapping_add(size), left);
            }
        }
        self.set_field(record, LENGTH, length as u32);
        self.memory.set_word(place.wrapping_sub(HINT), 0, record.link(head));
        let span = span(place, length);
        if span > self.memory.wide(WideGlobal::Span) {
            self.hand_out(span);
        }
        // A place without a mark says that the length is one.
        self.set_field(record, PLACE, place);
        // The table may have less room now than what was ready counted on.
        self.memory.set(Global::Ready, 1);
        Handle(u64::from(place))
    }

    /// The last record's link, after the next one of the table has become the last; or 0 if the table has no room.
    fn split_last(&mut self) -> Link {
        let head = self.head();
        let last = self.last();
        let next = Record::new(last.0, RECORD);
        let place = self.field(last, PLACE);
        if next.0 < place.max(self.memory.get(Global::HoleEnd)) {
            return 0;
        }
        let link = last.link(head);
        self.set_field(next, PLACE, place);
        self.join(Record::new(head, self.field(last, PREV)), next.link(head));
        self.memory.set(Global::Table, next.link(head));
        link
    }

    /// Ends the live block with this handle, or does nothing. Bounded by a constant (C-1).
    pub fn free(&mut self, handle: Handle) {
        let mut record = self.find(handle);
        let length = self.field(record, LENGTH);
        let ready = self.memory.get(Global::Ready);
        if length == 0 || ready == 0 {
            return;
        }
        if self.output_offset() == Address(handle.0) {
            self.memory.set_wide(WideGlobal::OutputFreed, handle.0);
            return;
        }
        if self.error_get() == handle {
            self.memory.set_wide(WideGlobal::ErrorFreed, handle.0);
            return;
        }
        if self.input_offset() == Address(handle.0) {
            self.memory.set_wide(WideGlobal::InputLength, 0);
        }
        self.memory.set(Global::Ready, 0);
        let head = self.head();
        let mut mark = if length <= SMALL_MAX as u32 { FREE | SMALL } else { FREE };
        let next = Record::new(head, self.field(record, NEXT));
        mark |= self.absorb(next, record, next);
        let previous = Record::new(head, self.field(record, PREV));
        let before = self.absorb(previous, previous, record);
        if before != 0 {
            record = previous;
        }
        let place = self.field(record, PLACE) | mark | before;
        self.insert(record, place, self.size(record));
        self.memory.set(Global::Ready, ready);
    }

    /// If `free`, one of two neighbours, is a free range, takes it out of its bin, and makes one range of both: the
    /// right one's record is spare. Returns the mark of `free`, or 0.
    fn absorb(&mut self, free: Record, left: Record, right: Record) -> u32 {
        let mark = self.field(free, PLACE) & MARK;
        if mark != 0 {
            self.remove(free);
            self.join(left, self.field(right, NEXT));
            self.set_field(right, PLACE, 0);
            self.set_field(right, NEXT, self.memory.get(Global::Spare));
            self.memory.set(Global::Spare, right.link(self.head()));
        }
        mark
    }
}

/// Bytes from the first handle to the end of the block at `place`.
fn span(place: u32, length: u64) -> u64 {
    u64::from(place).wrapping_add(length).wrapping_sub(u64::from(FIRST_HANDLE))
}
