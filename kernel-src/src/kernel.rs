//! The kernel's type, its birth and its `reset`.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::layout::{
    ANCHOR_BYTES, BASE, BUSY, FLOOR, HEADER, HOLE_COUNT, INITIAL_PAGES, LIFE, MAX_PAGES, PAGE_BYTES,
    STATE_END, TOP, TOP_CHECK, USED,
};
use crate::record::{PLACE, RECORD};
use crate::Memory;

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

    /// Marks the records as being relinked; until the mark goes, nothing follows a link.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        in_order();
        self.memory.set_word(BUSY, u32::from(busy));
        in_order();
    }

    /// Writes down that the kernel owns all below this page.
    pub(crate) fn own(&mut self, pages: u32) {
        let top = pages * PAGE_BYTES - ANCHOR_BYTES;
        let check = u64::from(top ^ TOP_CHECK) << 32;
        self.memory.set_long(TOP, check | u64::from(top));
        in_order();
    }

    /// Ends all blocks, clears the registers and keeps the memory (L-2). O(1).
    ///
    /// It relies on as little as it can. If the word that says where the table is has been damaged
    /// (a host that wrote at handle 0 can do that), it takes what memory there is and treats all of
    /// it as written.
    pub fn reset(&mut self) {
        let owned = self.memory.long(TOP);
        let top = owned as u32;
        if top ^ (owned >> 32) as u32 == TOP_CHECK {
            // What a call that was cut may have written beyond its last commitment counts as used.
            let used = self.memory.word(top + PLACE) + HEADER;
            if used > self.memory.word(USED) {
                self.memory.set_word(USED, used);
            }
        } else {
            let mut pages = INITIAL_PAGES;
            let mut floor = INITIAL_PAGES * PAGE_BYTES - ANCHOR_BYTES;
            if owned != 0 {
                pages = self.memory.pages().min(MAX_PAGES);
                floor = BASE;
            }
            self.memory.set_word(FLOOR, floor);
            self.memory.set_word(HOLE_COUNT, 0);
            in_order();
            self.own(pages);
        }
        in_order();
        self.memory.clear(LIFE, STATE_END - LIFE);
        let top = self.top();
        self.memory.clear(top, RECORD);
        in_order();
        self.memory.set_word(top + PLACE, BASE);
    }

    /// The bytes of linear memory that the kernel manages.
    pub fn memory_bytes(&self) -> u64 {
        let top = self.top();
        if top == 0 {
            return u64::from(INITIAL_PAGES * PAGE_BYTES);
        }
        u64::from(top) + u64::from(ANCHOR_BYTES)
    }
}
