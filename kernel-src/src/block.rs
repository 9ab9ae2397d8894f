//! From a handle to its record.

use crate::layout::{FIRST_HANDLE, HEAD, HEADER, SPAN, TABLE};
use crate::record::{KEY, LENGTH, PLACE, RECORD, Record};
use crate::tree::SPLIT_ROOT;
use crate::{Kernel, Memory};

/// The first step of the binary search. The table cannot have twice as many bytes.
const STEP_MAX: u32 = RECORD << 25;

impl<M: Memory> Kernel<M> {
    /// The record of the live block with this handle, or 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in what no guest can reach.
    #[inline(never)]
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

    /// [`find`](Self::find) without the hint: 26 steps by halving and at most 33 down the tree.
    #[inline(never)]
    #[cold]
    fn search(&self, place: u32) -> Record {
        // The last record whose key is not above `place`; that of the first one never is.
        let head = self.state(HEAD);
        let mut distance = 0;
        let mut step = STEP_MAX;
        while step >= RECORD {
            let probe = distance + step;
            if probe < self.state(TABLE) && self.field(head.wrapping_sub(probe), KEY) <= place {
                distance = probe;
            }
            step >>= 1;
        }
        let record = head.wrapping_sub(distance);
        if self.is_live_at(record, place) {
            return record;
        }
        self.state(self.walk(SPLIT_ROOT, place))
    }
}
