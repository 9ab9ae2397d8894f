//! The seam between the kernel's logic and what it works on: a module instance, or a vector in tests.

use crate::PageCount;

/// Declares globals, and on WebAssembly a placeholder for each access to one.
///
/// Rust has no name for a WebAssembly global. The placeholders are imports from `global`, and the build
/// (`build_tools/kernel/lower.py`) makes `global.get` and `global.set` of the calls. Each has a name of its own in
/// Rust too: rustc 1.97 takes functions of one name and type for one.
macro_rules! globals {
    ($(#[$about:meta])* $enum:ident($type:ty) { $($(#[$doc:meta])* $name:ident $get:literal $set:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub enum $enum {
            $($(#[$doc])* $name,)*
        }

        #[allow(non_snake_case)]
        impl $enum {
            /// How many there are.
            pub const COUNT: usize = [$($get),*].len();

            #[cfg(target_arch = "wasm32")]
            pub(crate) fn get(self) -> $type {
                #[link(wasm_import_module = "global")]
                unsafe extern "C" { $(#[link_name = $get] safe fn $name() -> $type;)* }
                match self { $(Self::$name => $name(),)* }
            }

            #[cfg(target_arch = "wasm32")]
            pub(crate) fn set(self, value: $type) {
                #[link(wasm_import_module = "global")]
                unsafe extern "C" { $(#[link_name = $set] safe fn $name(value: $type);)* }
                match self { $(Self::$name => $name(value),)* }
            }
        }
    };
}

globals! {
    /// The kernel's 32-bit state outside linear memory. In a fresh instance a global is the number that its
    /// placeholder names, or 0.
    Global(u32) {
        /// The address of the anchor, below which the table grows down. It tells where the kernel's pages end.
        Head "get head=130172" "set head",
        /// The link of the last record: bytes of the table. 0 in a fresh instance only.
        Table "get table" "set table",
        /// Where the lowest record lay in an earlier life, since the table last moved: what is above may be dirty.
        Dirty "get dirty=130172" "set dirty",
        /// What earlier lives used ends here or below: blocks are cleared up to it when they are appended.
        Used "get used" "set used",
        /// Blocks that end here or below need no preparation; 1 sends all to the slow path. 0 before the first `alloc`
        /// or `reset`, and while a call changes what a cut must not leave half-done: then the next `alloc` begins a
        /// new life (L-3).
        Ready "get ready" "set ready",
        /// Where pages begin that somebody else grew into memory, or 0.
        HoleStart "get hole_start" "set hole_start",
        /// Where they end, or 0.
        HoleEnd "get hole_end" "set hole_end",
        /// Where they will end when the table has moved behind them. Else the same.
        HoleNext "get hole_next" "set hole_next",
        /// The link of the first record that joining gave back, or 0.
        Spare "get spare" "set spare",
    }
}

const _: () = assert!(crate::FIRST_HEAD == 130_172, "so the placeholders of `head` and `dirty` begin");

globals! {
    /// The kernel's 64-bit state outside linear memory: what exports compare with, or give back.
    WideGlobal(u64) {
        /// Bytes from the first handle to the end of what was handed out.
        Span "get span" "set span",
        /// At how many of them eight bytes begin that were handed out: seven less, or 0.
        Whole "get whole" "set whole",
        /// The input register: an address.
        InputOffset "get input_offset" "set input_offset",
        /// The input register: a length.
        InputLength "get input_length" "set input_length",
        /// The output register: an address.
        OutputOffset "get output_offset" "set output_offset",
        /// The output register: a length.
        OutputLength "get output_length" "set output_length",
        /// The error register: a handle.
        Error "get error" "set error",
        /// The handle of the output's block, if that was freed while the output held it.
        OutputFreed "get output_freed" "set output_freed",
        /// The handle of the error's block, if that was freed while the register held it.
        ErrorFreed "get error_freed" "set error_freed",
    }
}

/// A module instance as the kernel sees it: its linear memory and its globals.
///
/// Memory is touched only inside the pages that the kernel owns. Values are little-endian; addresses need not be
/// aligned. An address comes as a base and an offset that cannot carry it beyond 32 bits, as in WebAssembly.
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
    fn get(&self, global: Global) -> u32;
    /// Writes a global.
    fn set(&mut self, global: Global, value: u32);
    /// Reads a 64-bit global.
    fn wide(&self, global: WideGlobal) -> u64;
    /// Writes a 64-bit global.
    fn set_wide(&mut self, global: WideGlobal, value: u64);
}
