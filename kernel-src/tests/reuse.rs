//! Which bytes a block gets: what is reused, in which order, and what is cleared.

mod common;

use common::{PlainKernel, Random, kernel};
use extism_kernel::FIRST_HANDLE;

const FIRST: u64 = FIRST_HANDLE as u64;

#[test]
fn a_trapping_limiter_finds_nothing_changed() {
    let mut kernel = kernel(3);
    let handle = kernel.alloc(1000);
    kernel.memory_mut().traps = true;
    let before = kernel.memory().clone();
    let mut kernel = std::panic::AssertUnwindSafe(kernel);
    let call = std::panic::catch_unwind(move || {
        let mut kernel = kernel;
        kernel.alloc(1 << 20);
        kernel
    });
    assert!(call.is_err());
    kernel = std::panic::AssertUnwindSafe(PlainKernel::new(before));
    assert_eq!(kernel.length(handle), 1000);
}

#[test]
fn large_blocks_are_reused_at_once_and_small_ones_are_not() {
    let mut kernel = kernel(40);
    let large = kernel.alloc(65_535);
    kernel.free(large);
    assert_eq!(kernel.alloc(65_535), large);
    let small = kernel.alloc(1);
    kernel.free(small);
    assert_ne!(kernel.alloc(2), small);
}

#[test]
fn under_pressure_the_oldest_freed_goes_first() {
    let mut kernel = kernel(2);
    let mut handles = Vec::new();
    loop {
        match kernel.alloc(500) {
            0 => break,
            handle => handles.push(handle),
        }
    }
    for at in [40, 10, 80, 20] {
        kernel.free(handles[at]);
    }
    for at in [40, 10, 80, 20] {
        assert_eq!(kernel.alloc(500), handles[at]);
    }
    assert_eq!(kernel.alloc(500), 0);
}

/// A full memory of blocks of these lengths by turns, with one byte between any two.
fn full(kernel: &mut PlainKernel, lengths: &[u64]) -> Vec<u64> {
    let mut handles = Vec::new();
    for &length in lengths.iter().cycle() {
        let handle = kernel.alloc(length);
        if handle == 0 || kernel.alloc(1) == 0 {
            break;
        }
        handles.push(handle);
    }
    while kernel.alloc(1) != 0 {}
    handles
}

#[test]
fn the_only_range_that_fits_is_found_among_many() {
    for length in [24, 500, 2000] {
        let mut kernel = kernel(6);
        // It is of a class in which all fit.
        let other = length + length / 2;
        let lengths: Vec<u64> = (0..40).map(|at| if at == 20 { other } else { length }).collect();
        let handles = full(&mut kernel, &lengths);
        assert!(handles.len() > 120);
        for (at, &handle) in handles.iter().enumerate() {
            if at % 40 != 20 || at == 20 {
                kernel.free(handle);
            }
        }
        kernel.check_invariants();
        assert_eq!(kernel.alloc(length + 16), handles[20]);
        assert_eq!(kernel.alloc(other), 0);
        kernel.check_invariants();
    }
}

#[test]
fn under_pressure_the_oldest_range_of_any_size_goes_first() {
    let mut random = Random(5);
    for _ in 0..20 {
        let mut kernel = kernel(3);
        let lengths = [40, 72, 100, 300, 1000, 90, 2000, 48];
        let mut left: Vec<(u64, u64)> =
            full(&mut kernel, &lengths).into_iter().zip(lengths.iter().copied().cycle()).collect();
        for at in (1..left.len()).rev() {
            left.swap(at, random.below(at as u64 + 1) as usize);
        }
        for &(handle, _) in &left {
            kernel.free(handle);
        }
        // Whole ranges are asked for, so that no rest becomes a younger one.
        while !left.is_empty() {
            let (_, length) = left[random.below(left.len() as u64) as usize];
            let oldest =
                left.iter().position(|&(_, n)| (n + 31) / 16 >= (length + 31) / 16).expect("one fits");
            let (handle, whole) = left.remove(oldest);
            assert_eq!(kernel.alloc(whole), handle);
            kernel.check_invariants();
        }
    }
}

#[test]
fn only_what_was_used_is_cleared() {
    let mut kernel = kernel(40);
    let bulk_of = |kernel: &mut PlainKernel, length: u64| {
        kernel.memory_mut().bulk = 0;
        assert_ne!(kernel.alloc(length), 0);
        kernel.memory().bulk
    };
    // A `reset` clears what lies around the anchor, and an `alloc` up to 1 KiB beyond its block.
    let around = 64;
    let ahead = 1024 + 32;
    assert!(bulk_of(&mut kernel, 100_000) <= around + 32, "fresh pages are clean");
    kernel.reset();
    let used = bulk_of(&mut kernel, 1000);
    assert!((1000..=1000 + ahead).contains(&used), "{used} bytes were cleared");
    let next = bulk_of(&mut kernel, 500);
    assert_eq!(next, 0, "they were cleared ahead");
    kernel.reset();
    for _ in 0..300 {
        assert_ne!(kernel.alloc(100), 0);
    }
    kernel.reset();
    // The first life's bytes, and the records of the third.
    let again = bulk_of(&mut kernel, 110_000);
    assert!((100_000..100_000 + ahead).contains(&again), "{again} bytes were cleared");
    kernel.reset();
    let grown = bulk_of(&mut kernel, 1_000_000);
    assert!(grown < 110_000 + 300 * 20 + 2 * 1024, "{grown} bytes were cleared or moved");
}

#[test]
fn what_the_output_and_error_describe_stays_until_they_change() {
    let mut kernel = kernel(2);
    let output = kernel.alloc(40_000);
    let error = kernel.alloc(30_000);
    kernel.store_u8(output, 7);
    kernel.output_set(output, 40_000);
    kernel.error_set(error);
    kernel.free(output);
    kernel.free(error);
    assert_eq!((kernel.length(output), kernel.length(error)), (40_000, 30_000));
    while kernel.alloc(1000) != 0 {}
    assert_eq!(kernel.load_u8(output), 7);
    kernel.output_set(0, 0);
    kernel.error_set(0);
    assert_eq!((kernel.length(output), kernel.length(error)), (0, 0));
    assert_ne!(kernel.alloc(40_000), 0);
    kernel.check_invariants();
}

#[test]
fn a_freed_block_inside_the_output_is_not_given_away() {
    let mut kernel = kernel(2);
    let first = kernel.alloc(40_000);
    let second = kernel.alloc(40_000);
    kernel.store_u8(second + 9, 5);
    kernel.output_set(first + 8, second - first + 100);
    kernel.free(first);
    kernel.free(second);
    while kernel.alloc(100) != 0 {}
    assert_eq!(kernel.load_u8(second + 9), 5);
    assert_eq!(kernel.output_length(), second - first + 100);
}

#[test]
fn the_output_in_the_oldest_range_hides_no_younger_one() {
    // Interior ranges, so that the block ends at once.
    for (offset, length) in [(8, 100), (1, 1), (39_990, 5)] {
        let mut kernel = kernel(4);
        let oldest = kernel.alloc(40_000);
        kernel.alloc(1);
        kernel.output_set(oldest + offset, length);
        kernel.free(oldest);
        let younger = kernel.alloc(40_000);
        kernel.alloc(1);
        for _ in 0..20 {
            kernel.free(younger);
            assert_eq!(kernel.alloc(40_000), younger);
            kernel.check_invariants();
        }
        kernel.output_set(0, 0);
        assert_eq!(kernel.alloc(40_000), oldest, "it can be had again");
    }
}

#[test]
fn ranges_freed_in_any_order_become_one() {
    let mut kernel = kernel(3);
    let mut random = Random(5);
    for _ in 0..20 {
        let mut handles = fill(&mut kernel);
        handles.sort_by_cached_key(|_| random.next());
        let (some, others) = handles.split_at(handles.len() / 2);
        for &handle in some {
            kernel.free(handle);
        }
        let again = fill(&mut kernel);
        assert_eq!(again.len(), some.len(), "each is found");
        for &handle in again.iter().chain(others) {
            kernel.free(handle);
        }
        let whole = kernel.alloc(100_000);
        assert_eq!(whole, FIRST, "all became one range");
        kernel.free(whole);
    }
}

/// Allocates until nothing is left.
fn fill(kernel: &mut PlainKernel) -> Vec<u64> {
    core::iter::repeat_with(|| kernel.alloc(500)).take_while(|&handle| handle != 0).collect()
}
