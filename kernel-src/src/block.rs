//! From a handle to its record.

use crate::layout::{ANCHOR, FIRST_HANDLE, HEADER, SPAN, STRETCH, TABLE};
use crate::record::{LENGTH, NEXT, PLACE, RECORD, Record};
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The length of the live block with this handle, or 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in the index, which no guest can reach.
    #[inline(always)]
    pub fn length(&self, handle: u64) -> u64 {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= u64::from(self.state(SPAN)) {
            return 0;
        }
        let place = (handle as u32).wrapping_sub(HEADER);
        let hint = self.memory.word(place, 4);
        if hint < self.state(TABLE) {
            let record = self.record(hint & !(RECORD - 1));
            if self.field(record, PLACE) == place {
                return u64::from(self.field(record, LENGTH));
            }
        }
        u64::from(self.field(self.find(handle), LENGTH))
    }

    /// The record of the range that begins at this handle's header, or [`ANCHOR`], whose length is 0.
    #[inline(never)]
    pub(crate) fn find(&self, handle: u64) -> Record {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= u64::from(self.state(SPAN)) {
            return ANCHOR;
        }
        let place = (handle as u32).wrapping_sub(HEADER);
        let distance = self.memory.word(self.index_word(place), RECORD);
        if distance >= self.state(TABLE) {
            return ANCHOR;
        }
        let mut record = self.record(distance);
        // After the first record all that are passed begin in the stretch and before `place`: at most 128,
        // and a stale word of the index ends the walk at once.
        let offset = place % (1 << STRETCH);
        while self.field(record, PLACE) != place {
            record = self.field(record, NEXT);
            if self.field(record, PLACE).wrapping_sub(place.wrapping_sub(offset)) > offset {
                return ANCHOR;
            }
        }
        record
    }
}
