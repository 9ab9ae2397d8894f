//! One test for each defect of the kernel before this one, named after what it let happen.

mod common;

use common::{PlainKernel, Random, kernel};
use extism_kernel::FIRST_HANDLE;

const FIRST: u64 = FIRST_HANDLE as u64;

/// Every address a guest could hope to find state at: all low ones, all around the blocks, and the far ends.
fn addresses(kernel: &PlainKernel) -> Vec<u64> {
    let bytes = kernel.memory().bytes.len() as u64;
    let mut all: Vec<u64> = (0..FIRST + 4096).collect();
    all.extend(bytes - 8192..bytes + 16);
    all.extend([u64::MAX, u64::MAX - 7, 1 << 32, (1 << 32) + 57, 1 << 63]);
    all
}

#[test]
fn defect_1_a_store_forges_no_register_and_no_length() {
    let mut kernel = kernel(17);
    let output = kernel.alloc(40);
    let error = kernel.alloc(24);
    kernel.output_set(output, 40);
    kernel.error_set(error);
    for address in addresses(&kernel) {
        kernel.store_u64(address, u64::MAX);
        assert_eq!(
            (kernel.output_offset(), kernel.output_length()),
            (output, 40),
            "after a store to {address}"
        );
        assert_eq!(kernel.error_get(), error, "after a store to {address}");
        let length = kernel.length(error);
        assert!(length == 24 || length == 0 && address > output, "{length} after a store to {address}");
    }
    kernel.check_invariants();
}

#[test]
fn defect_2_a_forged_size_makes_no_call_hang() {
    let mut kernel = kernel(17);
    let handles: Vec<u64> = (0..500).map(|_| kernel.alloc(40)).collect();
    for value in [u64::MAX - 11, 0, 1 << 32, u64::MAX] {
        for address in FIRST..handles[499] + 40 {
            kernel.store_u64(address, value);
        }
        for &handle in &handles {
            let length = kernel.length(handle);
            assert!(length == 0 || handle == FIRST && length == 40, "its header was overwritten (A-6)");
            assert_eq!(kernel.length(handle + 1), 0);
        }
    }
    for &handle in &handles {
        kernel.free(handle);
        kernel.free(handle);
    }
    kernel.check_invariants();
}

#[test]
fn defect_3_reset_costs_nothing_that_depends_on_use() {
    let mut kernel = kernel(2000);
    assert_ne!(kernel.alloc(100 << 20), 0);
    kernel.memory_mut().bulk = 0;
    kernel.reset();
    assert!(kernel.memory().bulk < 1000, "reset wrote {} bytes", kernel.memory().bulk);
}

#[test]
fn defect_4_registers_take_only_what_was_handed_out_and_can_be_cleared() {
    let mut kernel = kernel(17);
    let handle = kernel.alloc(100);
    kernel.output_set(handle, 100);
    for (offset, length) in [(handle, u64::MAX - 9), (handle, 101), (0, 1), (handle + 101, 0), (u64::MAX, 2)]
    {
        kernel.output_set(offset, length);
        kernel.input_set(offset, length);
        assert_eq!((kernel.output_offset(), kernel.output_length()), (handle, 100));
        assert_eq!(kernel.input_length(), 0);
    }
    kernel.input_set(handle + 3, 5);
    kernel.output_set(0, 0);
    kernel.input_set(0, 0);
    assert_eq!((kernel.output_offset(), kernel.output_length()), (0, 0));
    assert_eq!((kernel.input_offset(), kernel.input_length()), (0, 0));
}

#[test]
fn defect_5_absurd_lengths_are_refused() {
    let mut kernel = kernel(65_536);
    let handle = kernel.alloc(10);
    for shift in 32..64 {
        for near in 0..40 {
            assert_eq!(kernel.alloc((1_u64 << shift).wrapping_add(near)), 0);
            assert_eq!(kernel.alloc(0_u64.wrapping_sub(near << (shift - 32))), 0);
        }
    }
    for near in 1..70_000 {
        assert_eq!(kernel.alloc((1 << 32) - near), 0, "2^32 - {near} bytes");
    }
    assert_eq!(kernel.memory_bytes(), 131_072);
    assert_eq!(kernel.length(handle), 10);
}

#[test]
fn defect_6_no_load_reads_beyond_its_range_and_none_traps() {
    let mut kernel = kernel(17);
    assert_eq!(kernel.input_load_u64(u64::MAX - 7), 0);
    let handle = kernel.alloc(20);
    kernel.store_u64(handle + 12, u64::MAX);
    kernel.input_set(handle + 4, 10);
    for offset in (0..40).chain(u64::MAX - 40..=u64::MAX) {
        let is_inside = offset < 10;
        assert_eq!(kernel.input_load_u8(offset), if is_inside && offset >= 8 { 255 } else { 0 });
        if offset > 2 {
            assert_eq!(kernel.input_load_u64(offset), 0);
        }
    }
    assert_eq!(kernel.load_u64(handle + 12), u64::MAX);
    assert_eq!(kernel.load_u64(handle + 13), 0);
    assert_eq!(kernel.load_u8(handle + 19), 255);
    assert_eq!(kernel.load_u8(handle + 20), 0);
    kernel.store_u64(handle + 16, 0);
    assert_eq!(kernel.load_u64(handle + 12), u64::from(u32::MAX));
    for address in addresses(&kernel) {
        kernel.load_u8(address);
        kernel.load_u64(address);
        kernel.length(address);
    }
}

#[test]
fn defect_7_addresses_above_4_gib_are_nowhere() {
    let mut kernel = kernel(17);
    let handle = kernel.alloc(64);
    kernel.store_u8(handle, 9);
    for high in [1_u64 << 32, 1 << 33, 1 << 63] {
        assert_eq!(kernel.load_u8(high + handle), 0);
        assert_eq!(kernel.length(high + handle), 0);
        kernel.store_u8(high + handle, 1);
        kernel.free(high + handle);
        kernel.output_set(high + handle, 1);
        kernel.error_set(high + handle);
    }
    assert_eq!(kernel.load_u8(handle), 9);
    assert_eq!((kernel.output_offset(), kernel.error_get(), kernel.length(handle)), (0, 0, 64));
}

#[test]
fn defect_8_stores_do_not_survive_reset() {
    let mut kernel = kernel(17);
    let handles: Vec<u64> = (0..100).map(|_| kernel.alloc(50)).collect();
    for address in addresses(&kernel) {
        kernel.store_u64(address, u64::MAX);
    }
    kernel.reset();
    for &handle in &handles {
        assert_eq!(kernel.length(handle), 0);
    }
    assert_eq!(kernel.alloc(90_000), FIRST);
    for address in FIRST..FIRST + 90_000 {
        assert_eq!(kernel.load_u8(address), 0, "byte {address}");
    }
}

#[test]
fn defect_9_freed_neighbours_coalesce() {
    let mut kernel = kernel(400);
    for length in 1..=400 {
        let handle = kernel.alloc(length * 100);
        assert_ne!(handle, 0);
        kernel.free(handle);
        kernel.check_invariants();
    }
    assert!(kernel.memory_bytes() <= 4 * 65_536, "{} bytes", kernel.memory_bytes());

    kernel.reset();
    let owned = kernel.memory_bytes();
    let mut handles = Vec::new();
    while kernel.memory_bytes() == owned {
        handles.push(kernel.alloc(500));
    }
    handles.pop();
    let mut random = Random(9);
    for at in (1..handles.len()).rev() {
        handles.swap(at, random.below(at as u64 + 1) as usize);
    }
    let owned = kernel.memory_bytes();
    for &handle in &handles {
        kernel.free(handle);
    }
    assert_ne!(kernel.alloc(handles.len() as u64 * 500), 0);
    assert_eq!(kernel.memory_bytes(), owned, "k freed bytes in a row serve a request of k");
}

#[test]
fn defect_10_a_fresh_kernel_has_two_pages_and_works_in_them() {
    let mut kernel = kernel(2);
    assert_eq!(kernel.memory_bytes(), 131_072);
    assert_ne!(kernel.alloc(110_000), 0);
    assert_eq!(kernel.alloc(110_000), 0);
    kernel.check_invariants();
}

#[test]
fn defect_11_what_a_host_writes_at_handle_0_is_gone_after_reset() {
    for count in (1..200_u32).chain([1000, 5000, 65_536, 131_072, 196_608]) {
        let mut kernel = kernel(4);
        let old = kernel.alloc(150_000);
        assert_ne!(old, 0);
        assert_eq!(kernel.alloc(150_000), 0);
        kernel.memory_mut().bytes[..count as usize].fill(0x78);
        kernel.reset();
        assert_eq!(kernel.length(old), 0);
        let handle = kernel.alloc(150_000);
        assert_eq!(handle, FIRST, "after {count} bytes");
        let block = &kernel.memory().bytes[FIRST as usize..][..150_000];
        assert!(block.iter().all(|&byte| byte == 0), "after {count} bytes");
        kernel.check_invariants();
    }
}

#[test]
fn defect_11_what_a_host_writes_below_the_first_block_harms_nothing() {
    for byte in [0x00, 0x78, 0xff] {
        let mut kernel = kernel(4);
        let output = kernel.alloc(1000);
        let error = kernel.alloc(24);
        let freed = kernel.alloc(500);
        kernel.store_u64(output + 9, 7);
        kernel.output_set(output, 1000);
        kernel.error_set(error);
        kernel.free(freed);
        kernel.memory_mut().bytes[..2032].fill(byte);
        kernel.check_invariants();
        assert_eq!((kernel.output_offset(), kernel.output_length()), (output, 1000));
        assert_eq!((kernel.error_get(), kernel.length(error)), (error, 24));
        assert_eq!((kernel.load_u64(output + 9), kernel.load_u64(8)), (7, 0));
        assert_ne!(kernel.alloc(100_000), 0);
        kernel.error_set(0);
        kernel.check_invariants();
    }
}

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

/// Brings a kernel into a state, cuts `alloc(length)` in it at every place, and goes on with each.
fn after_any_cut(setup: fn(&mut PlainKernel), length: u64, go_on: fn(&mut PlainKernel)) {
    for changes in 0.. {
        let mut kernel = kernel(8);
        setup(&mut kernel);
        if !kernel.cut(changes, |kernel| _ = kernel.alloc(length)) {
            assert!(changes > 5, "the call changes something");
            return;
        }
        kernel.error_set(0);
        go_on(&mut kernel);
    }
}

#[test]
fn after_any_cut_no_length_goes_on_for_ever() {
    let setup = |kernel: &mut PlainKernel| {
        let first = kernel.alloc(2000);
        kernel.alloc(16);
        kernel.free(first);
    };
    after_any_cut(setup, 16, |kernel| {
        kernel.alloc(1100);
        for address in 0..FIRST + 8192 {
            assert!([0, 16, 1100, 2000].contains(&kernel.length(address)));
        }
    });
}

#[test]
fn after_any_cut_no_bytes_are_handed_out_twice() {
    let setup = |kernel: &mut PlainKernel| {
        let first = kernel.alloc(0x4000);
        kernel.free(first);
    };
    after_any_cut(setup, 0x349, |kernel| {
        let freed = kernel.alloc(0x4ae);
        kernel.free(freed);
        let mut blocks = [0xd1fc, 0x62f, 0x67].map(|length| (kernel.alloc(length), length));
        blocks.sort_unstable();
        for pair in blocks.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{blocks:x?}");
        }
    });
}
