//! The numbers that must not be taken for each other, told apart by type.
//!
//! Lengths and values stay plain. So do places, the addresses of headers and whatever else the kernel itself computes:
//! they are always inside its memory, and only ever added to, subtracted and compared.

/// The address of a block's first byte, as the ABI has it; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Handle(pub u64);

/// Any offset into memory, or beyond it, that a guest or a host names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Address(pub u64);

/// A number of pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCount(pub u32);
