//! The kernel's type, its birth and its `reset`.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::Memory;
use crate::layout::BASE;
use crate::memory::{Global, WideGlobal};
use crate::record::{PLACE, PREV, RECORD, ROOT};

/// The kernel over some memory. All state is in the instance, none is here.
#[derive(Debug, Default)]
pub struct Kernel<M> {
    pub(crate) memory: M,
}

/// Keeps the stores before this point before those after it: a call can be cut in between (L-3).
#[inline(always)]
pub(crate) fn in_order() {
    compiler_fence(Ordering::SeqCst);
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
        self.note_used();
        self.set_wide(WideGlobal::Span, 0);
        self.set_wide(WideGlobal::InputLength, 0);
        self.set_wide(WideGlobal::InputOffset, 0);
        self.set_wide(WideGlobal::OutputLength, 0);
        self.set_wide(WideGlobal::OutputOffset, 0);
        self.set_wide(WideGlobal::Error, 0);
        self.set_wide(WideGlobal::OutputFreed, 0);
        self.set_wide(WideGlobal::ErrorFreed, 0);
        self.set(Global::Table, RECORD);
        let anchor = self.anchor();
        // And the index, whose first word lies behind it, leads to it for the first stretch.
        self.memory.fill(anchor.at(), 0, RECORD + 4);
        self.set_link(anchor, ROOT, anchor);
        self.set_link(anchor, PREV, anchor);
        self.set_field(anchor, PLACE, BASE);
        self.set(Global::Ready, 1);
    }
}
