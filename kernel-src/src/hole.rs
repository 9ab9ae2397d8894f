//! Holes: pages in the middle of memory that somebody else grew.

use crate::layout::{HOLE_COUNT, HOLES, IDLE, PAGE_BYTES, TAIL};
use crate::record::{RANK, RECORD};
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// Where a block of `size` bytes can begin, at `place` or behind the holes in its way.
    pub(crate) fn behind_holes(&self, mut place: u32, size: u32) -> u32 {
        for hole in 0..self.memory.word(HOLE_COUNT) {
            let low = self.memory.word(HOLES + 8 * hole);
            if low >= place && low - place < size {
                place = self.memory.word(HOLES + 8 * hole + 4);
            }
        }
        place
    }

    /// The end of the last hole, or 0: the table stays above.
    pub(crate) fn last_hole_end(&self) -> u32 {
        // Before the first pair stands a word that is always 0.
        self.memory.word(HOLES - 4 + 8 * self.memory.word(HOLE_COUNT))
    }

    /// Moves the anchor's place to `place`, with a record of no use for each hole on the way.
    pub(crate) fn pass_holes(&mut self, place: u32) {
        for hole in 0..self.memory.word(HOLE_COUNT) {
            let end = self.memory.word(HOLES + 8 * hole + 4);
            if end > self.field(0, crate::record::PLACE) && end <= place {
                let record = self.memory.word(TAIL) + RECORD;
                self.set_field(record, RANK, 0);
                self.append(record, 0, end);
                self.memory.set_word(IDLE, self.memory.word(IDLE) + 1);
            }
        }
    }

    /// Notes that the pages from `low` to `high` are somebody else's.
    pub(crate) fn add_hole(&mut self, low: u32, high: u32) {
        let count = self.memory.word(HOLE_COUNT);
        self.memory.set_word(HOLES + 8 * count, low * PAGE_BYTES);
        self.memory.set_word(HOLES + 8 * count + 4, high * PAGE_BYTES);
        self.memory.set_word(HOLE_COUNT, count + 1);
    }
}
