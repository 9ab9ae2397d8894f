//! The Extism kernel: the module through which a host and its guests share bytes.
//!
//! `CONTRACT.md` states what it promises; the ids in these comments (A-1, M-3, ...) are its clauses. All logic is in
//! [`Kernel`], which is generic over [`Memory`], so that tests run natively; only `exports` is compiled for WebAssembly
//! alone. An `inline` stands only where the compiler would decide otherwise.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod bins;
#[cfg(target_arch = "wasm32")]
mod exports;
mod growth;
mod heap;
#[cfg(not(target_arch = "wasm32"))]
mod invariants;
mod layout;
mod memory;
mod record;
mod registers;
mod units;

pub use layout::{BASE, FIRST_HANDLE, FIRST_HEAD, INITIAL_PAGES, PAGE_BYTES};
pub use memory::{Global, Memory, WideGlobal};
pub use units::{Address, Handle, PageCount};

/// The kernel over some memory. All state is in the instance, none is here.
#[derive(Clone, Debug, Default)]
pub struct Kernel<M> {
    /// A fresh instance, or one that a kernel left behind.
    pub memory: M,
}
