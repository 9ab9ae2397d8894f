//! The kernel as a C library over a vector, so that a test in Python makes a call in a fraction of the time.
//!
//! `header.h` says what the functions do. Their prefix keeps them apart from the C library's: a native
//! `free` would take its place. References stand for the header's pointers, which are never null.

use std::ffi::c_char;
use std::ptr;

// The crate's own tests and this library share one memory.
#[path = "../../../kernel-src/tests/common/mod.rs"]
mod common;
mod twin;

pub use twin::Twin;

/// Declares functions that pass their arguments on to the kernel's method of that name.
macro_rules! exports {
    ($($function:ident => $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("`", stringify!($method), "` of the kernel.")]
        // SAFETY: nothing else has the prefix.
        #[unsafe(no_mangle)]
        pub extern "C" fn $function(twin: &mut Twin, $($argument: $type),*) $(-> $result)? {
            twin.enter(|kernel| kernel.$method($($argument),*))
        }
    )*};
}

exports! {
    xk_alloc => alloc(length: u64) -> u64;
    xk_free => free(handle: u64);
    xk_length => length(handle: u64) -> u64;
    xk_length_unsafe => length(handle: u64) -> u64;
    xk_load_u64 => load_u64(address: u64) -> u64;
    xk_store_u8 => store_u8(address: u64, value: u32);
    xk_store_u64 => store_u64(address: u64, value: u64);
    xk_input_set => input_set(offset: u64, length: u64);
    xk_input_offset => input_offset() -> u64;
    xk_input_length => input_length() -> u64;
    xk_input_load_u64 => input_load_u64(offset: u64) -> u64;
    xk_output_set => output_set(offset: u64, length: u64);
    xk_output_offset => output_offset() -> u64;
    xk_output_length => output_length() -> u64;
    xk_error_set => error_set(handle: u64);
    xk_error_get => error_get() -> u64;
    xk_reset => reset();
    xk_memory_bytes => memory_bytes() -> u64;
    xk_check_invariants => check_invariants();
}

/// `load_u8` of the kernel, as wide as the module's.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_load_u8(twin: &mut Twin, address: u64) -> u32 {
    twin.enter(|kernel| kernel.load_u8(address).into())
}

/// `input_load_u8` of the kernel, as wide as the module's.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_input_load_u8(twin: &mut Twin, offset: u64) -> u32 {
    twin.enter(|kernel| kernel.input_load_u8(offset).into())
}

/// A kernel in fresh memory.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_new(limit: u32, traps: bool) -> Box<Twin> {
    Box::new(Twin::new(limit, traps))
}

/// Ends a kernel and its memory.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_drop(twin: Box<Twin>) {
    drop(twin);
}

/// What the latest panic said since this was last asked, or null.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_fault(twin: &mut Twin) -> *const c_char {
    twin.take_fault().map_or(ptr::null(), |text| text.as_ptr())
}

/// The bytes of memory at an address, or null if any lies outside.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_at(twin: &mut Twin, address: u64, length: u64) -> *mut u8 {
    twin.bytes(address, length).map_or(ptr::null_mut(), <[u8]>::as_mut_ptr)
}

/// The pages there are.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_pages(twin: &Twin) -> u32 {
    twin.pages()
}

/// Adds pages as a host does, and says whether the limit allows it.
// SAFETY: nothing else has the prefix.
#[unsafe(no_mangle)]
pub extern "C" fn xk_grow(twin: &mut Twin, delta: u32) -> bool {
    twin.grow(delta)
}
