//! Pages that somebody else grew: they stay theirs, and no byte around them is lost.

mod common;

use common::{PlainKernel, kernel};
use extism_kernel::FIRST_HANDLE;

const FIRST: u64 = FIRST_HANDLE as u64;

#[test]
fn pages_of_others_between_blocks_stay_theirs() {
    let mut kernel = kernel(100);
    let mut foreign = Vec::new();
    for _ in 0..6 {
        assert_ne!(kernel.alloc(70_000), 0);
        let start = kernel.memory().bytes.len();
        kernel.memory_mut().grow_by_others(1);
        foreign.push(start..kernel.memory().bytes.len());
        kernel.check_invariants();
    }
    for _ in 0..12 {
        assert_ne!(kernel.alloc(30_000), 0);
    }
    for range in foreign {
        assert!(kernel.memory().bytes[range].iter().all(|&byte| byte == 0xee));
    }
}

#[test]
fn what_lies_before_pages_of_others_shows_no_earlier_life() {
    let mut kernel = kernel(100);
    let mut foreign = Vec::new();
    for life in 0..3_u8 {
        let mut blocks = Vec::new();
        // Twice and more in a life: what lies between them is given up.
        for _ in 0..=life {
            let block = kernel.alloc(150_000);
            blocks.push(block);
            for at in (0..150_000).step_by(8) {
                kernel.store_u64(block + at, u64::MAX);
            }
            let start = kernel.memory().bytes.len();
            kernel.memory_mut().grow_by_others(2);
            foreign.push(start..kernel.memory().bytes.len());
        }
        assert_ne!(kernel.alloc(200_000), 0, "the last pages of others are noticed");
        kernel.check_invariants();
        kernel.reset();
        let small = kernel.alloc(100);
        assert_eq!(small, FIRST);
        let last = kernel.alloc(400_000);
        for at in small..foreign[0].start as u64 {
            assert_eq!(kernel.load_u8(at), 0, "byte {at} was passed over");
        }
        let block = &mut kernel.memory_mut().bytes[last as usize..][..400_000];
        assert!(block.iter().all(|&byte| byte == 0));
        block.fill(7);
        for range in &foreign {
            let pages = &kernel.memory().bytes[range.clone()];
            assert!(pages.iter().all(|&byte| byte == 0xee));
        }
        kernel.check_invariants();
        kernel.reset();
    }
}

#[test]
fn records_never_reach_pages_of_others() {
    for small in [1, 16, 40, 100] {
        let mut kernel = kernel(4);
        assert_ne!(kernel.alloc(100_000), 0);
        let foreign = kernel.memory().bytes.len();
        kernel.memory_mut().grow_by_others(1);
        assert_ne!(kernel.alloc(20_000), 0);
        for large in [60_000, 30_000, 3000, 1200] {
            kernel.reset();
            let blocks: Vec<u64> =
                core::iter::repeat_with(|| kernel.alloc(large)).take_while(|&handle| handle != 0).collect();
            for &handle in &blocks {
                kernel.free(handle);
                // Each takes a record from the table until none is left.
                while kernel.alloc(small) != 0 {}
                kernel.check_invariants();
            }
            let page = &kernel.memory().bytes[foreign..foreign + 65_536];
            assert!(page.iter().all(|&byte| byte == 0xee));
        }
    }
}

/// Pages of others after 100,000 bytes, and unused bytes of the kernel before and behind them.
fn with_a_hole() -> PlainKernel {
    let mut kernel = kernel(4);
    assert_ne!(kernel.alloc(100_000), 0);
    kernel.memory_mut().grow_by_others(1);
    assert_ne!(kernel.alloc(40_000), 0);
    kernel.reset();
    kernel
}

#[test]
fn a_refused_alloc_gives_up_no_bytes_before_pages_of_others() {
    for length in [70_000, 100 << 20] {
        let mut kernel = with_a_hole();
        let first = kernel.alloc(60_000);
        assert_eq!(kernel.alloc(length), 0);
        assert_eq!(kernel.alloc(60_000), first + 60_016, "what was unused still is");
        kernel.check_invariants();
    }
}

#[test]
fn a_range_that_fits_is_reused_before_bytes_are_given_up() {
    let mut kernel = with_a_hole();
    let first = kernel.alloc(70_000);
    let next = kernel.alloc(1);
    kernel.free(first);
    assert_eq!(kernel.alloc(70_000), first);
    assert_eq!(kernel.alloc(1), next + 32, "what was unused still is");
    let behind = kernel.alloc(60_000);
    assert!(behind > 3 * 65_536, "then come the bytes behind");
    kernel.check_invariants();
}
