//! From a handle to its record.

use crate::layout::{ANCHOR, FIRST_HANDLE, HEADER, SPAN, STRETCH, TABLE};
use crate::record::{LENGTH, NEXT, PLACE, RECORD, Record};
use crate::{Kernel, Memory};

/// The ranges of a stretch, which take 32 bytes at least, and the one before.
const RANGES_MAX: u32 = (1 << STRETCH) / 32 + 1;

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
            let record = self.record(hint);
            if self.field(record, PLACE) == place {
                let length = self.field(record, LENGTH);
                if length != 0 {
                    return u64::from(length);
                }
            }
        }
        u64::from(self.field(self.find(handle), LENGTH))
    }

    /// The record of the range that the handle would begin, or some record with length 0.
    #[inline(never)]
    pub(crate) fn find(&self, handle: u64) -> Record {
        if handle.wrapping_sub(u64::from(FIRST_HANDLE)) >= u64::from(self.state(SPAN)) {
            return ANCHOR;
        }
        let place = (handle as u32).wrapping_sub(HEADER);
        let number = self.memory.word(self.index_word(place), RECORD);
        if number < self.state(TABLE) {
            let mut record = self.record(number);
            let mut looks = RANGES_MAX;
            loop {
                let found = self.field(record, PLACE);
                if found == place {
                    return record;
                }
                looks -= 1;
                if found > place || looks == 0 {
                    break;
                }
                record = self.field(record, NEXT);
            }
        }
        ANCHOR
    }
}
