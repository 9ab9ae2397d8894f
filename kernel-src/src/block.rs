//! From a handle to its record.

use crate::layout::{ANCHOR, BUSY, FIRST_HANDLE, HEAD, HEADER, SPAN, TABLE};
use crate::record::{HIGH, KEY, LENGTH, LOW, PLACE, RANK, RECORD, Record};
use crate::tree::{DEPTH_MAX, child_slot};
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The record of the live block with this handle, or 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in what no guest can reach.
    #[inline(always)]
    pub(crate) fn find(&self, handle: u64) -> Record {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= self.memory.long(SPAN, 0) {
            return 0;
        }
        let place = (handle as u32).wrapping_sub(HEADER);
        let hint = self.memory.word(place, 4);
        if hint < self.state(TABLE) && hint % RECORD == 0 {
            let record = self.state(HEAD).wrapping_sub(hint);
            if self.is_live_at(record, place) {
                return record;
            }
        }
        self.search(place)
    }

    #[inline(always)]
    fn is_live_at(&self, record: Record, place: u32) -> bool {
        self.field(record, PLACE) == place && self.field(record, LENGTH) != 0
    }

    /// [`find`](Self::find) without the hint: at most 27 steps by halving and 33 down the tree.
    #[inline(never)]
    #[cold]
    fn search(&self, place: u32) -> Record {
        if self.state(BUSY) != 0 {
            return 0;
        }
        // The last record whose key is not above `place`; that of the first one never is.
        let mut record = self.state(HEAD);
        let mut count = (self.state(TABLE) - 1) / RECORD;
        while count != 0 {
            let half = (count + 1) / 2;
            let probe = record.wrapping_sub(half.wrapping_mul(RECORD));
            if self.field(probe, KEY) <= place {
                record = probe;
            }
            count -= half;
        }
        if self.is_live_at(record, place) {
            return record;
        }
        let mut node = self.field(ANCHOR, HIGH);
        let mut bits = place;
        for _ in 0..DEPTH_MAX {
            if node == 0 || self.field(node, RANK) == place {
                break;
            }
            node = self.field(child_slot(node, bits), LOW);
            bits <<= 1;
        }
        node
    }
}
