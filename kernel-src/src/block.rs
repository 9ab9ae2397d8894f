//! From a handle to its record.

use crate::layout::{FIRST_HANDLE, HEAD, HEADER, SPAN, TABLE};
use crate::record::{LENGTH, NEXT, PLACE, RECORD, Record};
use crate::{Kernel, Memory};

/// No stretch has more ranges, as each takes 16 bytes at least.
const RANGES_MAX: u32 = 256;

impl<M: Memory> Kernel<M> {
    /// The record of the live block with this handle, or 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in the index, which no guest can reach.
    #[inline(never)]
    pub(crate) fn find(&self, handle: u64) -> Record {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= u64::from(self.state(SPAN)) {
            return 0;
        }
        let place = (handle as u32).wrapping_sub(HEADER);
        let mut word = self.memory.word(place, 4);
        let mut looks = 0;
        loop {
            if word < self.state(TABLE) && word % RECORD == 0 {
                let mut record = self.state(HEAD).wrapping_sub(word);
                loop {
                    if self.field(record, PLACE) == place && self.field(record, LENGTH) != 0 {
                        return record;
                    }
                    if looks == 0 {
                        break;
                    }
                    looks -= 1;
                    record = self.field(record, NEXT);
                }
            }
            if looks != 0 { return 0 }
            word = self.memory.word(self.index_word(place), RECORD);
            looks = RANGES_MAX;
        }
    }
}
