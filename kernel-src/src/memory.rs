//! The seam between the kernel's logic and what it works on: a module instance, or a vector in tests.

use crate::PageCount;

/// The kernel's 32-bit state outside linear memory: globals of the module. In a fresh instance `Head` and
/// `Dirty` are [`FIRST_HEAD`](crate::FIRST_HEAD), and all else 0.
#[derive(Debug, Clone, Copy)]
pub enum Global {
    /// The address of the anchor, below which the table grows down. It tells where the kernel's pages end.
    Head,
    /// The link of the last record: bytes of the table. 0 in a fresh instance only.
    Table,
    /// Where the lowest record lay in an earlier life, since the table last moved: what is above may be dirty.
    Dirty,
    /// What earlier lives used ends here or below: blocks are cleared up to it when they are appended.
    Used,
    /// Blocks that end here or below need no preparation; 1 sends all to the slow path. 0 before the first `alloc` or
    /// `reset`, and while a call changes what a cut must not leave half-done: then the next `alloc` begins a new
    /// life (L-3).
    Ready,
    /// Where pages begin that somebody else grew into memory, or 0.
    HoleStart,
    /// Where they end, or 0.
    HoleEnd,
    /// Where they will end when the table has moved behind them. Else the same.
    HoleNext,
    /// The link of the first record that merging gave back, or 0.
    Spare,
}

impl Global {
    /// How many there are.
    pub const COUNT: usize = Self::Spare as usize + 1;
}

/// The kernel's 64-bit state outside linear memory: what exports compare with, or give back.
#[derive(Debug, Clone, Copy)]
pub enum WideGlobal {
    /// Bytes from the first handle to the end of what was handed out.
    Span,
    /// The input register: an address.
    InputOffset,
    /// The input register: a length.
    InputLength,
    /// The output register: an address.
    OutputOffset,
    /// The output register: a length.
    OutputLength,
    /// The error register: a handle.
    Error,
    /// The handle of the output's block, if that was freed while the output held it.
    OutputFreed,
    /// The handle of the error's block, if that was freed while the register held it.
    ErrorFreed,
}

impl WideGlobal {
    /// How many there are.
    pub const COUNT: usize = Self::ErrorFreed as usize + 1;
}

/// A module instance as the kernel sees it: its linear memory and its globals.
///
/// Memory is touched only inside the pages that the kernel owns. Values are little-endian; addresses need
/// not be aligned. An address comes as a base and an offset that cannot carry it beyond 32 bits, as in
/// WebAssembly.
pub trait Memory {
    /// Reads one byte.
    fn byte(&self, base: u32, offset: u32) -> u8;
    /// Writes one byte.
    fn set_byte(&mut self, base: u32, offset: u32, value: u8);
    /// Reads four bytes.
    fn word(&self, base: u32, offset: u32) -> u32;
    /// Writes four bytes.
    fn set_word(&mut self, base: u32, offset: u32, value: u32);
    /// Reads eight bytes.
    fn long(&self, base: u32, offset: u32) -> u64;
    /// Writes eight bytes.
    fn set_long(&mut self, base: u32, offset: u32, value: u64);
    /// Writes `count` bytes of one value.
    fn fill(&mut self, start: u32, value: u8, count: u32);
    /// Copies `count` bytes; the ranges may overlap.
    fn copy(&mut self, to: u32, from: u32, count: u32);
    /// The pages there are, whoever asked for them.
    fn pages(&self) -> PageCount;
    /// Adds `delta` pages and says whether the host agreed. A host may also never return (L-3).
    fn grow(&mut self, delta: PageCount) -> bool;
    /// Reads a global.
    fn global(&self, global: Global) -> u32;
    /// Writes a global.
    fn set_global(&mut self, global: Global, value: u32);
    /// Reads a 64-bit global.
    fn wide_global(&self, global: WideGlobal) -> u64;
    /// Writes a 64-bit global.
    fn set_wide_global(&mut self, global: WideGlobal, value: u64);
}
