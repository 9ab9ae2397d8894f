//! From a handle to its record.

use crate::layout::{FIRST_HANDLE, HEADER, STRETCH};
use crate::memory::{Global, WideGlobal};
use crate::record::{LENGTH, NEXT, PLACE, RANK, RECORD, Record};
use crate::{Address, Handle, Kernel, Memory};

impl<M: Memory> Kernel<M> {
    #[inline(always)]
    /// The length of the live block with this handle, or 0.
    pub fn length(&self, handle: Handle) -> u64 {
        u64::from(self.field(self.find(handle), LENGTH))
    }

    /// How far the address is above the first handle, and whether it was handed out.
    #[inline(always)]
    pub(crate) fn is_handed_out(&self, address: Address) -> bool {
        address.get().wrapping_sub(u64::from(FIRST_HANDLE)) < self.memory.wide_global(WideGlobal::Span)
    }

    /// The record of the range that begins at this handle's header, or the anchor, whose length is 0.
    ///
    /// The word before a block says where its record is. Guests can write there, so it is only a
    /// hint: a record is believed if it lies in the table and names this block. Everything else
    /// is looked up in the index, which no guest can reach.
    #[inline(never)]
    pub(crate) fn find(&self, handle: Handle) -> Record {
        if !self.is_handed_out(handle.address()) {
            return self.anchor();
        }
        let place = (handle.get() as u32).wrapping_sub(HEADER);
        // The rank that a live block has, which is none, and its place.
        let key = u64::from(place) << 32;
        let hint = self.memory.word(place, 4);
        if hint < self.get(Global::Table) {
            let record = self.anchor().below(hint & !(RECORD - 1));
            if self.memory.long(record.at(), RANK) == key {
                return record;
            }
        }
        let distance = self.memory.word(self.index_word(place), RECORD);
        if distance >= self.get(Global::Table) {
            return self.anchor();
        }
        let mut record = self.anchor().below(distance);
        // A stale word of the index does not lead into the stretch. If it does, all records that are passed
        // are of ranges that begin in it: at most 64.
        if (self.field(self.link(record, NEXT), PLACE) ^ place) >> STRETCH != 0 {
            return self.anchor();
        }
        loop {
            record = self.link(record, NEXT);
            if self.field(record, PLACE) >= place {
                break;
            }
        }
        if self.memory.long(record.at(), RANK) != key {
            return self.anchor();
        }
        record
    }
}
