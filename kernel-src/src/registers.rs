//! The registers, and reading and writing by address.

use crate::layout::{ERROR, ERROR_FREED, FIRST_HANDLE, INPUT, OUTPUT, OUTPUT_FREED, SPAN};
use crate::record::LENGTH;
use crate::{Kernel, Memory};

impl<M: Memory> Kernel<M> {
    /// Calls `action` with the number of bytes from `address` to the end of what was handed out, if
    /// it lies inside (M-1).
    #[inline(always)]
    fn inside<R>(&mut self, address: u64, outside: R, action: impl FnOnce(&mut M, u32, u64) -> R) -> R {
        let distance = address.wrapping_sub(u64::from(FIRST_HANDLE));
        let span = u64::from(self.state(SPAN));
        if distance >= span {
            return outside;
        }
        action(&mut self.memory, address as u32, span - distance)
    }

    /// The byte at an address, or 0 (M-1).
    #[inline(always)]
    pub fn load_u8(&mut self, address: u64) -> u8 {
        self.inside(address, 0, |memory, at, _| memory.byte(at, 0))
    }

    /// Eight bytes at an address, or 0 (M-1, M-2).
    #[inline(always)]
    pub fn load_u64(&mut self, address: u64) -> u64 {
        self.inside(
            address,
            0,
            |memory, at, left| if left < 8 { 0 } else { memory.long(at, 0) },
        )
    }

    /// Writes the byte at an address, or nothing (M-1).
    #[inline(always)]
    pub fn store_u8(&mut self, address: u64, value: u8) {
        self.inside(address, (), |memory, at, _| memory.set_byte(at, 0, value));
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

    /// Sets a register to a range that was handed out, or clears it, and says whether it did.
    #[inline(never)]
    fn set_range(&mut self, register: u32, offset: u64, length: u64) -> bool {
        let distance = offset.wrapping_sub(u64::from(FIRST_HANDLE));
        let span = u64::from(self.state(SPAN));
        if distance <= span && length <= span - distance || offset | length == 0 {
            self.memory.set_long(register, 0, offset | length << 32);
            return true;
        }
        false
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
        if offset >= self.input_length() {
            return 0;
        }
        self.memory.byte(self.state(INPUT).wrapping_add(offset as u32), 0)
    }

    /// Eight bytes at an offset into the input, or 0 (M-4).
    pub fn input_load_u64(&self, offset: u64) -> u64 {
        if offset >= self.input_length() || self.input_length() - offset < 8 {
            return 0;
        }
        self.memory.long(self.state(INPUT).wrapping_add(offset as u32), 0)
    }

    /// Sets the output, and ends a block that was freed while the output held it.
    pub fn output_set(&mut self, offset: u64, length: u64) {
        if self.set_range(OUTPUT, offset, length) {
            self.free_held(OUTPUT_FREED);
        }
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
