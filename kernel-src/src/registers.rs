//! The registers, and reading and writing by address.

use crate::layout::FIRST_HANDLE;
use crate::memory::WideGlobal;
use crate::{Address, Handle, Kernel, Memory};

/// How far an address is above the first handle; what is below is far above.
fn distance(address: Address) -> u64 {
    address.0.wrapping_sub(u64::from(FIRST_HANDLE))
}

/// Where to read: at an address that is inside, or else at the anchor, which is all zeros. So loads have no branch.
fn choose(anchor: u32, is_inside: bool, address: u64) -> u32 {
    if is_inside { address as u32 } else { anchor }
}

impl<M: Memory> Kernel<M> {
    /// Whether the byte at an address was handed out.
    pub(crate) fn is_handed_out(&self, address: Address) -> bool {
        distance(address) < self.memory.wide(WideGlobal::Span)
    }

    /// The byte at an address, or 0 (M-1).
    pub fn load_u8(&self, address: Address) -> u8 {
        self.memory.byte(choose(self.head(), self.is_handed_out(address), address.0), 0)
    }

    /// Eight bytes at an address, or 0 (M-1, M-2).
    pub fn load_u64(&self, address: Address) -> u64 {
        let anchor = self.head();
        let is_inside = distance(address) < self.memory.wide(WideGlobal::Whole);
        self.memory.long(choose(anchor, is_inside, address.0), 0)
    }

    /// Writes the byte at an address, or nothing (M-1). Only the low 8 bits of the value count (S-6).
    pub fn store_u8(&mut self, address: Address, value: u32) {
        if self.is_handed_out(address) {
            self.memory.set_byte(address.0 as u32, 0, value as u8);
        }
    }

    /// Writes eight bytes at an address, but none past the end (M-1, M-2).
    pub fn store_u64(&mut self, address: Address, mut value: u64) {
        if distance(address) >= self.memory.wide(WideGlobal::Whole) {
            if !self.is_handed_out(address) {
                return;
            }
            // What lies behind the end is written back as it was.
            let left = self.memory.wide(WideGlobal::Span).wrapping_sub(distance(address));
            let old = self.memory.long(address.0 as u32, 0);
            // More than eight are left where an `alloc` was cut that had noted the end, but not `Whole` (L-3).
            if left < 8 {
                value ^= (value ^ old) & u64::MAX << (left * 8);
            }
        }
        self.memory.set_long(address.0 as u32, 0, value);
    }

    /// Whether a register takes this range: one that was handed out, or none.
    fn accepts(&self, offset: Address, length: u64) -> bool {
        let span = self.memory.wide(WideGlobal::Span);
        let start = distance(offset);
        ((start <= span) & (length <= span.wrapping_sub(start)) & (span != 0)) | (offset.0 | length == 0)
    }

    /// Sets the input.
    pub fn input_set(&mut self, offset: Address, length: u64) {
        if self.accepts(offset, length) {
            // A cut between two of these leaves a range that is inside (R-1, L-3).
            self.memory.set_wide(WideGlobal::InputLength, 0);
            self.memory.set_wide(WideGlobal::InputOffset, offset.0);
            self.memory.set_wide(WideGlobal::InputLength, length);
        }
    }

    /// The address of the input, or 0.
    pub fn input_offset(&self) -> Address {
        Address(self.memory.wide(WideGlobal::InputOffset))
    }

    /// The length of the input, or 0.
    pub fn input_length(&self) -> u64 {
        self.memory.wide(WideGlobal::InputLength)
    }

    /// The byte at an offset into the input, or 0 (M-4).
    pub fn input_load_u8(&self, offset: u64) -> u8 {
        let address = offset.wrapping_add(self.input_offset().0);
        self.memory.byte(choose(self.head(), offset < self.input_length(), address), 0)
    }

    /// Eight bytes at an offset into the input, or 0 (M-4).
    pub fn input_load_u64(&self, offset: u64) -> u64 {
        let address = offset.wrapping_add(self.input_offset().0);
        let anchor = self.head();
        let length = self.input_length();
        let has_eight = (offset < length) & (length.wrapping_sub(offset) >= 8);
        self.memory.long(choose(anchor, has_eight, address), 0)
    }

    /// Sets the output, and ends a block that was freed while the output held it.
    pub fn output_set(&mut self, offset: Address, length: u64) {
        if self.accepts(offset, length) {
            self.memory.set_wide(WideGlobal::OutputLength, 0);
            self.memory.set_wide(WideGlobal::OutputOffset, offset.0);
            self.memory.set_wide(WideGlobal::OutputLength, length);
            self.end_held(WideGlobal::OutputFreed);
        }
    }

    /// The address of the output, or 0.
    pub fn output_offset(&self) -> Address {
        Address(self.memory.wide(WideGlobal::OutputOffset))
    }

    /// The length of the output, or 0.
    pub fn output_length(&self) -> u64 {
        self.memory.wide(WideGlobal::OutputLength)
    }

    /// Sets the error to a live handle or clears it, and ends a block that was freed while the error held it.
    pub fn error_set(&mut self, handle: Handle) {
        if handle == Handle(0) || self.length(handle) != 0 {
            self.memory.set_wide(WideGlobal::Error, handle.0);
            self.end_held(WideGlobal::ErrorFreed);
        }
    }

    /// The handle of the error, or 0.
    pub fn error_get(&self) -> Handle {
        Handle(self.memory.wide(WideGlobal::Error))
    }

    /// Ends the block that a register held when it was freed.
    #[inline(always)]
    fn end_held(&mut self, held: WideGlobal) {
        let handle = Handle(self.memory.wide(held));
        self.memory.set_wide(held, 0);
        self.free(handle);
    }
}
