//! An allocator from crates.io behind four exports of the kernel: `memory`, `alloc`, `free`, `length`.
//!
//! It keeps the length in a header of 16 bytes, as the kernel does, and no other promise of the kernel: bytes
//! are not cleared and handles are not checked. So its figures are those of finding memory alone.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};

/// Bytes before a block's data; its length stands in the first eight.
const HEADER: usize = 16;

#[cfg(feature = "dlmalloc")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[cfg(feature = "rlsf")]
#[global_allocator]
static ALLOCATOR: rlsf::GlobalTlsf = rlsf::GlobalTlsf::new();

#[cfg(feature = "talc")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

fn layout_of(length: u64) -> Option<Layout> {
    let size = usize::try_from(length).ok()?.checked_add(HEADER)?;
    Layout::from_size_align(size, 8).ok()
}

/// Allocates a block of `length` bytes and returns its handle, or 0 if there is no room.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(length: u64) -> u64 {
    let Some(layout) = layout_of(length) else {
        return 0;
    };
    // SAFETY: the layout has a size, that of the header at least.
    let block = unsafe { ALLOCATOR.alloc(layout) };
    if block.is_null() {
        return 0;
    }
    // SAFETY: the block has room for its header, and is aligned to eight bytes.
    unsafe { block.cast::<u64>().write(length) };
    (block as usize + HEADER) as u64
}

/// Frees a block. The handle must be one that `alloc` returned, once.
#[unsafe(no_mangle)]
pub extern "C" fn free(handle: u64) {
    let Some(layout) = layout_of(length(handle)) else {
        return;
    };
    // SAFETY: the bench frees each handle once, with the layout that it was allocated with.
    unsafe { ALLOCATOR.dealloc((handle as usize - HEADER) as *mut u8, layout) };
}

/// Returns the length of a block. The handle must be that of a live block.
#[unsafe(no_mangle)]
pub extern "C" fn length(handle: u64) -> u64 {
    // SAFETY: the bench asks only about handles that `alloc` returned; their headers are initialised.
    unsafe { ((handle as usize - HEADER) as *const u64).read() }
}
