//! The kernel's type, its birth and its `reset`.

use crate::Memory;
use crate::layout::{BINS, FIRST_HANDLE, HEADER, RECORD};
use crate::memory::{Global, WideGlobal};
use crate::record::{PLACE, PREV, Record};

/// The kernel over some memory. All state is in the instance, none is here.
#[derive(Clone, Debug, Default)]
pub struct Kernel<M> {
    pub(crate) memory: M,
}

impl<M: Memory> Kernel<M> {
    /// A kernel over a fresh instance, or over one that a kernel left behind.
    pub const fn new(memory: M) -> Self {
        Self { memory }
    }

    /// Ends all blocks, clears the registers and keeps the memory (L-2). O(1).
    ///
    /// It relies on the globals alone, whatever a host may have written over the table.
    #[inline(never)]
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
}
