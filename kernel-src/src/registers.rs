//! The registers, and reading and writing by address.

use crate::layout::{ERROR, ERROR_FREED, FIRST_HANDLE, INPUT, OUTPUT, OUTPUT_FREED, SPAN, ZERO};
use crate::record::LENGTH;
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// The address if `is_inside`, else that of bytes that are always 0. Loads are free of branches
    /// this way.
    #[inline(always)]
    fn readable(address: u64, is_inside: bool) -> u32 {
        if is_inside { address as u32 } else { ZERO }
    }

    /// The byte at an address, or 0 (M-1).
    #[inline(always)]
    pub fn load_u8(&self, address: u64) -> u8 {
        let distance = address.wrapping_sub(u64::from(FIRST_HANDLE));
        self.memory
            .byte(Self::readable(address, distance < u64::from(self.state(SPAN))), 0)
    }

    /// Eight bytes at an address, or 0 (M-1, M-2).
    #[inline(always)]
    pub fn load_u64(&self, address: u64) -> u64 {
        let distance = address.wrapping_sub(u64::from(FIRST_HANDLE));
        let span = u64::from(self.state(SPAN));
        let is_inside = (distance < span) & (span.wrapping_sub(distance) >= 8);
        self.memory.long(Self::readable(address, is_inside), 0)
    }

    /// Writes the byte at an address, or nothing (M-1).
    #[inline(always)]
    pub fn store_u8(&mut self, address: u64, value: u8) {
        if address.wrapping_sub(u64::from(FIRST_HANDLE)) < u64::from(self.state(SPAN)) {
            self.memory.set_byte(address as u32, 0, value);
        }
    }

    /// Writes eight bytes at an address, but none past the end (M-1, M-2).
    #[inline(always)]
    pub fn store_u64(&mut self, address: u64, value: u64) {
        let distance = address.wrapping_sub(u64::from(FIRST_HANDLE));
        let span = u64::from(self.state(SPAN));
        if distance >= span {
            return;
        }
        let left = span - distance;
        if left < 8 {
            self.store_head(address, value, left);
            return;
        }
        self.memory.set_long(address as u32, 0, value);
    }

    /// Writes the first `count` of eight bytes. What lies behind them is written back as it was.
    #[inline(never)]
    #[cold]
    fn store_head(&mut self, address: u64, value: u64, count: u64) {
        let old = self.memory.long(address as u32, 0);
        let kept = (value ^ old) & u64::MAX << (count * 8);
        self.memory.set_long(address as u32, 0, value ^ kept);
    }

    /// Sets a register to a range that was handed out, or clears it.
    #[inline(never)]
    fn set_range(&mut self, register: u32, offset: u64, length: u64) {
        let distance = offset.wrapping_sub(u64::from(FIRST_HANDLE));
        let span = u64::from(self.state(SPAN));
        if distance <= span && length <= span - distance || offset | length == 0 {
            self.memory.set_long(register, 0, offset | length << 32);
        }
    }

    /// Ends the block that was freed while a register held it.
    fn free_held(&mut self, freed: u32) {
        let record = self.state(freed);
        if record != 0 {
            self.set_state(freed, 0);
            self.free_record(record);
        }
    }

    /// Sets the input.
    pub fn input_set(&mut self, offset: u64, length: u64) {
        self.set_range(INPUT, offset, length);
    }

    /// The address of the input, or 0.
    pub fn input_offset(&self) -> u64 {
        u64::from(self.state(INPUT))
    }

    /// The length of the input, or 0.
    pub fn input_length(&self) -> u64 {
        u64::from(self.state(INPUT + 4))
    }

    /// The byte at an offset into the input, or 0 (M-4).
    pub fn input_load_u8(&self, offset: u64) -> u8 {
        let address = offset.wrapping_add(self.input_offset());
        self.memory
            .byte(Self::readable(address, offset < self.input_length()), 0)
    }

    /// Eight bytes at an offset into the input, or 0 (M-4).
    pub fn input_load_u64(&self, offset: u64) -> u64 {
        let length = self.input_length();
        let is_inside = (offset < length) & (length.wrapping_sub(offset) >= 8);
        self.memory.long(
            Self::readable(offset.wrapping_add(self.input_offset()), is_inside),
            0,
        )
    }

    /// Sets the output, and ends a block that was freed while the output held it.
    pub fn output_set(&mut self, offset: u64, length: u64) {
        self.set_range(OUTPUT, offset, length);
        self.free_held(OUTPUT_FREED);
    }

    /// The address of the output, or 0.
    pub fn output_offset(&self) -> u64 {
        u64::from(self.state(OUTPUT))
    }

    /// The length of the output, or 0.
    pub fn output_length(&self) -> u64 {
        u64::from(self.state(OUTPUT + 4))
    }

    /// Sets the error to a live handle or clears it, and ends a block that was freed while the
    /// register held it.
    pub fn error_set(&mut self, handle: u64) {
        if handle == 0 || self.field(self.find(handle), LENGTH) != 0 {
            self.set_state(ERROR, handle as u32);
            self.free_held(ERROR_FREED);
        }
    }

    /// The handle of the error, or 0.
    pub fn error_get(&self) -> u64 {
        u64::from(self.state(ERROR))
    }
}
