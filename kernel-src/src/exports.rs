//! The module's exports under their current names: thin shells around [`Kernel`].
//!
//! The names of the first generation are added to the finished module as aliases. Nothing here may
//! be compiled natively: a native `free` would take the C library's place.

use core::arch::wasm32::{memory_grow, memory_size};

use crate::{Address, Global, Handle, Kernel, Memory, PageCount, WideGlobal};

/// The module's linear memory, which the kernel addresses by number, and its globals. The linker puts no
/// Rust object above its unused stack, which ends where the blocks begin.
struct LinearMemory;

#[link(wasm_import_module = "instruction")]
unsafe extern "C" {
    /// The instruction `memory.fill`. What the compiler makes of `write_bytes` asks first whether there is anything to
    /// write, or is a row of stores.
    #[link_name = "memory.fill"]
    fn memory_fill(to: u32, value: u32, count: u32);
    /// The instruction `memory.copy`, likewise.
    #[link_name = "memory.copy"]
    fn memory_copy(to: u32, from: u32, count: u32);
}

/// A pointer to an address in linear memory.
fn at(base: u32, offset: u32) -> *mut u8 {
    // SAFETY: `Memory` promises that the sum does not wrap, and linear memory is one object.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(base as usize).add(offset as usize) }
}

/// Declares how a number of one size is read and written.
macro_rules! access {
    ($($get:ident $set:ident $type:ty,)*) => {$(
        fn $get(&self, base: u32, offset: u32) -> $type {
            // SAFETY: the kernel asks only for bytes inside its pages, where no Rust object lies, aligned or not.
            unsafe { at(base, offset).cast::<$type>().read_unaligned() }
        }

        fn $set(&mut self, base: u32, offset: u32, value: $type) {
            // SAFETY: as for reading.
            unsafe { at(base, offset).cast::<$type>().write_unaligned(value) }
        }
    )*};
}

impl Memory for LinearMemory {
    access! {
        byte set_byte u8,
        word set_word u32,
        long set_long u64,
    }

    fn fill(&mut self, start: u32, value: u8, count: u32) {
        // SAFETY: the range lies inside the kernel's pages.
        unsafe { memory_fill(start, value.into(), count) }
    }

    fn copy(&mut self, to: u32, from: u32, count: u32) {
        // SAFETY: both ranges lie inside the kernel's pages, and may overlap.
        unsafe { memory_copy(to, from, count) }
    }

    fn pages(&self) -> PageCount {
        PageCount(memory_size(0) as u32)
    }

    fn grow(&mut self, delta: PageCount) -> bool {
        memory_grow(0, delta.0 as usize) != usize::MAX
    }

    fn get(&self, global: Global) -> u32 {
        global.get()
    }

    fn set(&mut self, global: Global, value: u32) {
        global.set(value);
    }

    fn wide(&self, global: WideGlobal) -> u64 {
        global.get()
    }

    fn set_wide(&mut self, global: WideGlobal, value: u64) {
        global.set(value);
    }
}

/// Declares exports that pass their arguments on to the method of the same name. A handle and an address are an
/// `i64` to WebAssembly.
macro_rules! exports {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "` of abi.toml; see [`Kernel::", stringify!($name), "`].")]
        // SAFETY: the name is the ABI's, and nothing else in this module has it.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            Kernel { memory: LinearMemory }.$name($($argument),*)
        }
    )*};
}

exports! {
    alloc(length: u64) -> Handle;
    free(handle: Handle);
    length(handle: Handle) -> u64;
    load_u8(address: Address) -> u8;
    load_u64(address: Address) -> u64;
    store_u8(address: Address, value: u32);
    store_u64(address: Address, value: u64);
    input_set(offset: Address, length: u64);
    input_offset() -> Address;
    input_length() -> u64;
    input_load_u8(offset: u64) -> u8;
    input_load_u64(offset: u64) -> u64;
    output_set(offset: Address, length: u64);
    output_offset() -> Address;
    output_length() -> u64;
    error_set(handle: Handle);
    error_get() -> Handle;
    reset();
    memory_bytes() -> u64;
}

/// `length_unsafe` of abi.toml: the same function as `length`.
// SAFETY: the name is the ABI's, and nothing else in this module has it.
#[unsafe(no_mangle)]
pub extern "C" fn length_unsafe(handle: Handle) -> u64 {
    Kernel { memory: LinearMemory }.length(handle)
}

/// Arithmetic here cannot fail, so nothing refers to this; the compiler asks for it all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
