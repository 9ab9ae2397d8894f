//! The kernel's type, its birth and its `reset`.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::Memory;
use crate::layout::{ANCHOR, BASE, HEAD, INITIAL_PAGES, LIFE, OWNED, PAGE_BYTES, PAGE_NET, STATE_END, USED};
use crate::record::{NEXT, PLACE, RECORD};

/// The kernel over some memory. All state is in the memory, none is here.
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
    /// A kernel over a memory whose pages are fresh, or that a kernel left behind.
    pub const fn new(memory: M) -> Self {
        Self { memory }
    }

    /// Writes down that the kernel owns all below this page, and so where the table hangs.
    #[inline(never)]
    pub(crate) fn own(&mut self, pages: u32) {
        let head = pages.wrapping_mul(PAGE_NET).wrapping_sub(RECORD);
        self.memory
            .set_long(HEAD, 0, u64::from(pages) << 32 | u64::from(head));
        in_order();
    }

    /// Ends all blocks, clears the registers and keeps the memory (L-2). O(1).
    ///
    /// It relies on as little as it can. If `HEAD` and `OWNED` disagree, which a host that writes at
    /// handle 0 can bring about, it takes what memory there is and treats all of it as written. A head of
    /// 0 is a fresh instance's (L-6).
    #[inline(never)]
    pub fn reset(&mut self) {
        let head = self.state(HEAD);
        if self.state(OWNED).wrapping_mul(PAGE_NET).wrapping_sub(RECORD) != head {
            self.memory.clear(USED, LIFE - USED);
            self.own(if head == 0 {
                INITIAL_PAGES
            } else {
                self.memory.pages()
            });
        }
        if head != 0 {
            self.set_state(USED, self.state(HEAD));
        }
        in_order();
        self.memory.clear(LIFE, STATE_END - LIFE);
        in_order();
        self.set_field(ANCHOR, PLACE, BASE);
        self.enter_next(BASE);
        self.memory
            .set_long(ANCHOR, NEXT, u64::from(ANCHOR) << 32 | u64::from(ANCHOR));
    }

    /// The bytes of linear memory that the kernel manages.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.state(OWNED).max(INITIAL_PAGES)) * u64::from(PAGE_BYTES)
    }
}
