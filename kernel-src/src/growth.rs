//! Growth: more pages, where the table then lies, and pages that belong to somebody else.

use crate::heap::RESERVE;
use crate::layout::{PAGE_BYTES, PAGE_NET, STRETCH};
use crate::memory::{Global, WideGlobal};
use crate::record::{AGE, PLACE, PREV, RECORD};
use crate::{Kernel, Memory, PageCount};

/// Memory grows by the table's bytes divided by 2 to this in pages more than are needed, so that moves
/// of a large table are rare: by none below 8,192 records, and then by a quarter of the table.
const AMPLE: u32 = 18;
/// Bytes of a page's words in the index.
const PAGE_WORDS: u32 = PAGE_BYTES - PAGE_NET;
/// The index's words for pages of others. It leads nowhere. The first of a page can be overwritten, if a range ends
/// where the page begins; the last cannot.
const FOREIGN: u32 = u32::MAX;

impl<M: Memory> Kernel<M> {
    /// Pages below the end of what the kernel owns.
    #[inline(always)]
    fn owned(&self) -> u32 {
        self.anchor().at().wrapping_add(RECORD) / PAGE_NET
    }

    /// The bytes of linear memory that the kernel manages.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.owned()) * u64::from(PAGE_BYTES)
    }

    /// Asks for the pages that a block of `size` bytes needs and moves the table to their end. If
    /// others grew memory, or did before, the next block will lie behind their pages.
    pub(crate) fn grow(&mut self, place: u32, size: u32) -> bool {
        let pages = self.memory.pages().get();
        let owned = self.owned();
        let table = self.get(Global::Table);
        let mut start = place;
        if pages != owned {
            start = pages.wrapping_mul(PAGE_BYTES);
        }
        let bytes = u64::from(start)
            + u64::from(size)
            + u64::from(table.wrapping_add(RESERVE + 2 * RECORD + PAGE_NET - 1));
        let need = (bytes / u64::from(PAGE_NET)) as u32;
        let ample = PageCount::new(need + (table >> AMPLE) - pages);
        if !(self.memory.grow(ample) || self.memory.grow(PageCount::new(need - pages))) {
            return false;
        }
        // If the call is cut while links are being moved, no handle is looked up until `reset` (L-3).
        // `alloc` sets the span anew.
        self.note_used();
        self.set_wide(WideGlobal::Span, 0);
        let delta = self
            .memory
            .pages()
            .get()
            .wrapping_sub(owned)
            .wrapping_mul(PAGE_NET);
        let end = owned.wrapping_mul(PAGE_BYTES);
        let old = self.next_record().at().wrapping_add(RECORD);
        let new = old.wrapping_add(delta);
        if pages != owned {
            // Where the index will be; if the call is cut, what others own stays theirs.
            self.memory.fill(
                new.wrapping_add(end.wrapping_sub(old)),
                FOREIGN as u8,
                start.wrapping_sub(end) >> STRETCH << 2,
            );
            // Where the table lay is passed over, and so cleared with what was used, now or by a later life (L-3).
            self.set(Global::Used, end);
            if self.get(Global::HoleStart) == 0 {
                self.set(Global::HoleStart, end);
            }
            self.set(Global::HoleEnd, start);
        }
        // Table and index are complete before they are used, unless they overwrite the anchor.
        let head = self.anchor().at().wrapping_add(delta);
        if table >= delta {
            self.set(Global::Head, head);
        }
        self.memory.copy(new, old, end.wrapping_sub(old));
        self.set(Global::Head, head);
        self.wipe(self.get(Global::Dirty).max(place), new.min(end));
        self.set(Global::Dirty, self.anchor().at());
        // Links are the words that are not below the table, but for ages: places, lengths and ranks all are.
        let mut at = new;
        loop {
            let word = self.memory.word(at, 0);
            if word >= old && at % RECORD != AGE {
                self.memory.set_word(at, 0, word.wrapping_add(delta));
            }
            at = at.wrapping_add(4);
            if at >= self.anchor().at().wrapping_add(RECORD) {
                break;
            }
        }
        if pages != owned {
            self.pass();
        }
        true
    }

    /// Goes on behind others' pages. Nothing is put before them any more until `reset`.
    #[inline(never)]
    pub(crate) fn pass(&mut self) {
        self.set(Global::Ready, 0);
        // Loads will reach what is passed over, so what is ours must not show an earlier life.
        let end = self.get(Global::HoleEnd).min(self.get(Global::Used));
        let mut at = self.field(self.anchor(), PLACE);
        while at < end {
            let next = (at | (PAGE_BYTES - 1)).wrapping_add(1);
            let words = self.anchor().at().wrapping_add(at / PAGE_BYTES * PAGE_WORDS);
            if self.memory.word(words, RECORD + PAGE_WORDS - 4) != FOREIGN {
                self.wipe(at, next);
            }
            at = next;
        }
        let record = self.next_record();
        // Length, rank, place and the one before are the anchor's.
        self.memory.copy(record.at(), self.anchor().at(), RECORD);
        self.set_field(self.anchor(), PLACE, self.get(Global::HoleEnd));
        self.join(record, self.anchor());
        self.join(self.link(record, PREV), record);
        self.set(Global::Table, self.get(Global::Table).wrapping_add(RECORD));
    }

    /// Writes down how far this life used memory, before what comes next: the next `alloc` begins a new life if
    /// that is cut (L-3).
    #[inline(never)]
    pub(crate) fn note_used(&mut self) {
        let end = (self.memory.wide_global(WideGlobal::Span) as u32).wrapping_add(crate::FIRST_HANDLE);
        if end > self.get(Global::Used) {
            self.set(Global::Used, end);
        }
        if self.next_record().at() < self.get(Global::Dirty) {
            self.set(Global::Dirty, self.next_record().at());
        }
        self.set(Global::Ready, 0);
    }
}
