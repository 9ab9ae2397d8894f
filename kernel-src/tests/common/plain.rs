//! The kernel with the plain numbers of the ABI, as hosts and guests see it.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use extism_kernel::{Address, Handle, Kernel};

use super::memory::{Cut, TestMemory};

/// A kernel over a test's memory. What has no handle and no address is the kernel's own.
#[derive(Debug, Clone)]
pub struct PlainKernel(Kernel<TestMemory>);

impl PlainKernel {
    pub fn new(memory: TestMemory) -> Self {
        Self(Kernel { memory })
    }
    /// Makes a call and cuts it before the change of state after so many. Returns whether it was cut.
    pub fn cut(&mut self, changes: u64, call: impl FnOnce(&mut Self)) -> bool {
        self.0.memory_mut().changes_left = changes;
        let result = catch_unwind(AssertUnwindSafe(|| call(self)));
        self.0.memory_mut().changes_left = u64::MAX;
        match result {
            Ok(()) => false,
            Err(payload) if payload.is::<Cut>() => true,
            Err(payload) => resume_unwind(payload),
        }
    }
    pub fn alloc(&mut self, length: u64) -> u64 {
        self.0.alloc(length).0
    }
    pub fn free(&mut self, handle: u64) {
        self.0.free(Handle(handle));
    }
    pub fn length(&self, handle: u64) -> u64 {
        self.0.length(Handle(handle))
    }
    pub fn load_u8(&self, address: u64) -> u8 {
        self.0.load_u8(Address(address))
    }
    pub fn load_u64(&self, address: u64) -> u64 {
        self.0.load_u64(Address(address))
    }
    pub fn store_u8(&mut self, address: u64, value: u32) {
        self.0.store_u8(Address(address), value);
    }
    pub fn store_u64(&mut self, address: u64, value: u64) {
        self.0.store_u64(Address(address), value);
    }
    pub fn input_set(&mut self, offset: u64, length: u64) {
        self.0.input_set(Address(offset), length);
    }
    pub fn input_offset(&self) -> u64 {
        self.0.input_offset().0
    }
    pub fn output_set(&mut self, offset: u64, length: u64) {
        self.0.output_set(Address(offset), length);
    }
    pub fn output_offset(&self) -> u64 {
        self.0.output_offset().0
    }
    pub fn error_set(&mut self, handle: u64) {
        self.0.error_set(Handle(handle));
    }
    pub fn error_get(&self) -> u64 {
        self.0.error_get().0
    }
}

impl Deref for PlainKernel {
    type Target = Kernel<TestMemory>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for PlainKernel {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
