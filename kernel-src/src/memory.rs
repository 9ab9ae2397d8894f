//! The seam between the kernel's logic and the bytes it works on.

/// Linear memory: the module's own in WebAssembly, a vector in tests.
///
/// The kernel keeps everything in it, its own state too, and calls these methods only with ranges
/// that lie inside the pages it owns. Values are little-endian; addresses need not be aligned. An
/// address comes as a base and an offset that cannot carry it beyond 32 bits, as in WebAssembly.
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
    /// Writes `count` zero bytes.
    fn clear(&mut self, start: u32, count: u32);
    /// Copies `count` bytes; the ranges may overlap.
    fn copy(&mut self, to: u32, from: u32, count: u32);
    /// The pages there are, whoever asked for them.
    fn pages(&self) -> u32;
    /// Adds `delta` pages and says whether the host agreed. A host may also never return (L-3).
    fn grow(&mut self, delta: u32) -> bool;
}
