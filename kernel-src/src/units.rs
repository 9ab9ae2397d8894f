//! The numbers that must not be taken for each other, told apart by type.
//!
//! Lengths and values stay plain. So do places, the addresses of headers and whatever else the kernel itself computes:
//! they are always inside its memory, and only ever added to, subtracted and compared.

/// The address of a block's first byte, as the ABI has it; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Handle(u64);

/// Any offset into memory, or beyond it, that a guest or a host names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Address(u64);

/// A number of pages of 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PageCount(u32);

impl Handle {
    /// No block.
    pub const NONE: Self = Self(0);

    /// What was passed as a handle, whether it is one or not.
    #[inline(always)]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number that the ABI passes.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Where the block's first byte is.
    #[inline(always)]
    pub const fn address(self) -> Address {
        Address(self.0)
    }
}

impl Address {
    /// What was passed as an address; any number is one.
    #[inline(always)]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number that the ABI passes.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl PageCount {
    /// So many pages.
    #[inline(always)]
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// How many they are.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }
}
