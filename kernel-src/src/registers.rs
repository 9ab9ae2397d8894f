//! The registers, and reading and writing by address.

use crate::layout::FIRST_HANDLE;
use crate::memory::WideGlobal;
use crate::{Address, Handle, Kernel, Memory};

impl<M: Memory> Kernel<M> {
    #[inline(always)]
    fn wide(&self, global: WideGlobal) -> u64 {
        self.memory.wide_global(global)
    }

    #[inline(always)]
    pub(crate) fn set_wide(&mut self, global: WideGlobal, value: u64) {
        self.memory.set_wide_global(global, value);
    }

    /// The byte at an address, or 0 (M-1).
    #[inline(always)]
    pub fn load_u8(&self, address: Address) -> u8 {
        // Where nothing may be read, the anchor is, which begins with eight bytes that are always 0. So
        // loads are free of branches.
        let zero = self.head();
        let place = if self.is_handed_out(address) {
            address.get() as u32
        } else {
            zero
        };
        self.memory.byte(place, 0)
    }

    /// Eight bytes at an address, or 0 (M-1, M-2).
    #[inline(always)]
    pub fn load_u64(&self, address: Address) -> u64 {
        let zero = self.head();
        let distance = address.get().wrapping_sub(u64::from(FIRST_HANDLE));
        let span = self.wide(WideGlobal::Span);
        let is_inside = (distance < span) & (span.wrapping_sub(distance) >= 8);
        self.memory
            .long(if is_inside { address.get() as u32 } else { zero }, 0)
    }

    /// Writes the byte at an address, or nothing (M-1).
    #[inline(always)]
    pub fn store_u8(&mut self, address: Address, value: u8) {
        if self.is_handed_out(address) {
            self.memory.set_byte(address.get() as u32, 0, value);
        }
    }

    /// Writes eight bytes at an address, but none past the end (M-1, M-2).
    #[inline(always)]
    pub fn store_u64(&mut self, address: Address, mut value: u64) {
        let distance = address.get().wrapping_sub(u64::from(FIRST_HANDLE));
        if distance >= self.wide(WideGlobal::Span) {
            return;
        }
        let left = self.wide(WideGlobal::Span).wrapping_sub(distance);
        if left < 8 {
            // What lies behind the end is written back as it was.
            let old = self.memory.long(distance as u32, FIRST_HANDLE);
            value ^= (value ^ old) & u64::MAX << (left * 8);
        }
        self.memory.set_long(address.get() as u32, 0, value);
    }

    /// Whether a register takes this range: one that was handed out, or none.
    #[inline(never)]
    fn accepts(&self, offset: Address, length: u64) -> bool {
        let span = self.wide(WideGlobal::Span);
        let distance = offset.get().wrapping_sub(u64::from(FIRST_HANDLE));
        ((distance <= span) & (length <= span.wrapping_sub(distance)) & (span != 0))
            | (offset.get() | length == 0)
    }

    /// Sets the input.
    pub fn input_set(&mut self, offset: Address, length: u64) {
        if self.accepts(offset, length) {
            // A cut between two of these leaves a range that is inside (R-1, L-3).
            self.set_wide(WideGlobal::InputLength, 0);
            self.set_wide(WideGlobal::InputOffset, offset.get());
            self.set_wide(WideGlobal::InputLength, length);
        }
    }

    /// The address of the input, or 0.
    pub fn input_offset(&self) -> Address {
        Address::new(self.wide(WideGlobal::InputOffset))
    }

    /// The length of the input, or 0.
    pub fn input_length(&self) -> u64 {
        self.wide(WideGlobal::InputLength)
    }

    /// The byte at an offset into the input, or 0 (M-4).
    pub fn input_load_u8(&self, offset: u64) -> u8 {
        let address = offset.wrapping_add(self.input_offset().get()) as u32;
        let zero = self.head();
        let place = if offset < self.input_length() {
            address
        } else {
            zero
        };
        self.memory.byte(place, 0)
    }

    /// Eight bytes at an offset into the input, or 0 (M-4).
    pub fn input_load_u64(&self, offset: u64) -> u64 {
        let address = offset.wrapping_add(self.input_offset().get()) as u32;
        let zero = self.head();
        let length = self.input_length();
        let is_inside = (offset < length) & (length.wrapping_sub(offset) >= 8);
        self.memory.long(if is_inside { address } else { zero }, 0)
    }

    /// Sets the output, and ends a block that was freed while the output held it.
    pub fn output_set(&mut self, offset: Address, length: u64) {
        if self.accepts(offset, length) {
            self.set_wide(WideGlobal::OutputLength, 0);
            self.set_wide(WideGlobal::OutputOffset, offset.get());
            self.set_wide(WideGlobal::OutputLength, length);
            let freed = Handle::new(self.wide(WideGlobal::OutputFreed));
            self.set_wide(WideGlobal::OutputFreed, 0);
            self.free(freed);
        }
    }

    /// The address of the output, or 0.
    pub fn output_offset(&self) -> Address {
        Address::new(self.wide(WideGlobal::OutputOffset))
    }

    /// The length of the output, or 0.
    pub fn output_length(&self) -> u64 {
        self.wide(WideGlobal::OutputLength)
    }

    /// Sets the error to a live handle or clears it, and ends a block that was freed while the
    /// register held it.
    pub fn error_set(&mut self, handle: Handle) {
        let value = handle.get();
        if value == 0 || self.length(handle) != 0 {
            self.set_wide(WideGlobal::Error, value);
            let freed = Handle::new(self.wide(WideGlobal::ErrorFreed));
            self.set_wide(WideGlobal::ErrorFreed, 0);
            self.free(freed);
        }
    }

    /// The handle of the error, or 0.
    pub fn error_get(&self) -> Handle {
        Handle::new(self.wide(WideGlobal::Error))
    }
}
