//! Growth: more pages, where the table then lies, and pages that belong to somebody else; and `reset`.

use crate::layout::{BINS, FIRST_HANDLE, HEADER, PAGE_BYTES, RECORD, RESERVE, TAIL};
use crate::memory::{Global, WideGlobal};
use crate::record::{PLACE, PREV, Record};
use crate::{Kernel, Memory, PageCount};

impl<M: Memory> Kernel<M> {
    /// The bytes of linear memory that the kernel manages.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.head()) + u64::from(TAIL)
    }

    /// Asks for the pages that a block of `size` bytes needs and moves the table to their end. Returns the place of
    /// the block, or 0 if the host refuses. If others grew memory, or did before, it lies behind their pages.
    pub(crate) fn grow(&mut self, mut place: u32, size: u32) -> u32 {
        let pages = self.memory.pages().0;
        let owned_end = self.memory_bytes();
        let owned = (owned_end >> 16) as u32;
        if pages != owned {
            place = pages.wrapping_mul(PAGE_BYTES).wrapping_add(HEADER);
        }
        let table = self.memory.get(Global::Table);
        // The block may lie before others' pages, but the table never does. It may get a record for those pages too.
        let end = (u64::from(place) + u64::from(size)).max(u64::from(self.memory.get(Global::HoleEnd)));
        let above = u64::from(table) + u64::from(RESERVE + 3 * RECORD + TAIL + PAGE_BYTES - 1);
        let need = (((end + above) >> 16) as u32).wrapping_sub(pages);
        // More than the need, so that the table moves rarely: a 32nd of the owned pages, none below 64.
        let ample = owned >> 6 << 1;
        if !(self.memory.grow(PageCount(need.wrapping_add(ample))) || self.memory.grow(PageCount(need))) {
            return 0;
        }
        // Until the table is in place no handle is live, and the next `alloc` begins a new life (L-3).
        self.note_table();
        self.memory.set(Global::Table, 0);
        if pages != owned {
            // Where the table lay is cleared as what was used is: when it is passed over, or by a later life.
            self.memory.set(Global::Used, owned_end as u32);
            if self.memory.get(Global::HoleStart) == 0 {
                self.memory.set(Global::HoleStart, owned_end as u32);
            }
            self.memory.set(Global::HoleNext, pages.wrapping_mul(PAGE_BYTES));
        }
        // The new anchor lies in a fresh page, so that it is all zeros from here on.
        let head = self.head();
        let new_head = head.wrapping_add(self.memory.pages().0.wrapping_sub(owned).wrapping_mul(PAGE_BYTES));
        self.memory.set(Global::Head, new_head);
        self.memory.set(Global::HoleEnd, self.memory.get(Global::HoleNext));
        let last = new_head.wrapping_sub(table);
        self.memory.copy(last, head.wrapping_sub(table), table.wrapping_add(TAIL));
        self.memory.set(Global::Table, table);
        let dirty = self.memory.get(Global::Dirty).max(place).max(self.memory.get(Global::HoleEnd));
        self.wipe(dirty, (owned_end as u32).min(last));
        self.memory.set(Global::Dirty, last);
        self.memory.set(Global::Ready, 1);
        place
    }

    /// Ends all blocks, clears the registers and keeps the memory (L-2). O(1).
    ///
    /// It relies on the globals alone, whatever a host may have written over the table.
    pub fn reset(&mut self) {
        self.note_table();
        // If a growth was cut, pages of others count if the table has moved behind them.
        if self.memory.get(Global::HoleNext) <= self.head() {
            self.memory.set(Global::HoleEnd, self.memory.get(Global::HoleNext));
        }
        // What is to be cleared, with the header of a block that is not yet counted.
        let end = (self.memory.wide(WideGlobal::Span) as u32).wrapping_add(FIRST_HANDLE + 2 * HEADER);
        self.memory.set(Global::Used, self.memory.get(Global::Used).max(end));
        self.memory.set_wide(WideGlobal::Whole, 0);
        self.memory.set_wide(WideGlobal::Span, 0);
        self.memory.set_wide(WideGlobal::InputLength, 0);
        self.memory.set_wide(WideGlobal::InputOffset, 0);
        self.memory.set_wide(WideGlobal::OutputLength, 0);
        self.memory.set_wide(WideGlobal::OutputOffset, 0);
        self.memory.set_wide(WideGlobal::Error, 0);
        self.memory.set_wide(WideGlobal::OutputFreed, 0);
        self.memory.set_wide(WideGlobal::ErrorFreed, 0);
        self.memory.set(Global::Spare, 0);
        self.memory.set(Global::Table, RECORD);
        // The last record is the first of the table; above it the anchor, and the bitmap of the bins.
        let head = self.head();
        self.memory.fill(head, 0, BINS);
        let last = Record::new(head, RECORD);
        self.set_field(last, PLACE, FIRST_HANDLE);
        self.set_field(last, PREV, 0);
        self.memory.set(Global::Ready, 1);
    }

    /// Notes, before the table is moved or forgotten, where it lay; and that a call which is cut now has left things
    /// half-done.
    pub(crate) fn note_table(&mut self) {
        self.memory.set(Global::Ready, 0);
        // With a record that is not yet counted.
        let next = self.last().0.wrapping_sub(RECORD);
        self.memory.set(Global::Dirty, self.memory.get(Global::Dirty).min(next));
    }
}
