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
fn store_u8_takes_the_low_8_bits_of_its_value() {
    let mut kernel = kernel(17);
    let handle = kernel.alloc(2);
    kernel.store_u8(handle, 0xffff_ff05);
    assert_eq!((kernel.load_u8(handle), kernel.load_u8(handle + 1)), (5, 0), "S-6");
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
