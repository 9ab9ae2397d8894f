//! From a handle to its record.

use crate::layout::{BUSY, FIRST_HANDLE, HEADER, SPAN, TAIL};
use crate::record::{HIGH, KEY, LENGTH, LOW, PLACE, RANK, RECORD, Ref};
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The record of the live block with this handle, or 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in what no guest can reach.
    #[inline(always)]
    pub(crate) fn find(&self, handle: u64) -> Ref {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= self.memory.long(SPAN) {
            return 0;
        }
        let place = handle as u32 - HEADER;
        let hint = self.memory.word(place + 4);
        if hint <= self.memory.word(TAIL)
            && hint % RECORD == 0
            && self.field(hint, PLACE) == place
            && self.field(hint, LENGTH) != 0
        {
            return hint;
        }
        self.search(place)
    }

    /// [`find`](Self::find) without the hint: at most 27 steps by halving and 33 down the tree.
    #[inline(never)]
    #[cold]
    fn search(&self, place: u32) -> Ref {
        if self.memory.word(BUSY) != 0 {
            return 0;
        }
        // The last record whose key is not above `place`.
        let mut below = 0;
        let mut count = self.memory.word(TAIL) / RECORD;
        while count != 0 {
            let half = (count + 1) / 2;
            let probe = below + half * RECORD;
            if self.field(probe, KEY) <= place {
                below = probe;
            }
            count -= half;
        }
        if below != 0 && self.field(below, PLACE) == place && self.field(below, LENGTH) != 0 {
            return below;
        }
        let mut node = self.field(0, HIGH);
        let mut bits = place;
        for _ in 0..33 {
            if node == 0 || self.field(node, RANK) == place {
                break;
            }
            node = self.field(node, LOW + (bits >> 31) * (HIGH - LOW));
            bits <<= 1;
        }
        node
    }
}
