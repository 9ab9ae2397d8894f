//! Random programs against a model of the contract, with a scan of all state as they run.

mod common;

use common::{Random, Shadow};

fn run(seed: u64, limit: u32, steps: u32, sizes: &[u64]) {
    let mut random = Random(seed);
    let mut shadow = Shadow::new(limit);
    for step in 0..steps {
        shadow.step(&mut random, sizes);
        shadow.check(step % 16 == 0);
    }
    shadow.check(true);
}

#[test]
fn small_blocks_keep_the_contract() {
    for seed in 0..24 {
        run(seed, 64, 4000, &[8, 24, 100, 300, 1024]);
    }
}

#[test]
fn small_blocks_under_pressure_keep_the_contract() {
    for seed in 100..124 {
        run(seed, 2, 4000, &[16, 64, 100, 2000, 9000]);
    }
}

#[test]
fn mixed_blocks_keep_the_contract() {
    for seed in 200..216 {
        run(seed, 40, 3000, &[16, 1024, 1025, 5000, 70_000, 200_000]);
    }
}

#[test]
fn mixed_blocks_with_foreign_growth_keep_the_contract() {
    for seed in 300..316 {
        let mut random = Random(seed);
        let mut shadow = Shadow::new(60);
        for step in 0..3000 {
            if random.below(400) == 0 && shadow.kernel.memory().bytes.len() < 40 * 65536 {
                shadow.grow_by_others(1 + random.below(2) as u32);
            }
            shadow.step(&mut random, &[16, 1024, 5000, 70_000]);
            shadow.check(step % 16 == 0);
        }
    }
}

#[test]
fn lives_around_foreign_pages_keep_the_contract() {
    for seed in 500..506 {
        let mut random = Random(seed);
        let mut shadow = Shadow::new(64);
        for life in 0..6_u32 {
            if life % 2 == 0 && shadow.kernel.memory().bytes.len() < 40 * 65536 {
                shadow.grow_by_others(1);
            }
            // More records than there is room for above the others' pages, and ranges that are split.
            for step in 0..3000 {
                let handle = shadow.alloc(1 + random.below([16, 60, 3000][step % 3]));
                if random.below(3) != 0 {
                    shadow.free(handle);
                }
                shadow.check(step % 512 == 0);
            }
            shadow.reset();
        }
    }
}

#[test]
fn ever_larger_tables_keep_the_contract() {
    let mut random = Random(400);
    let mut shadow = Shadow::new(400);
    for step in 0..20_000_u32 {
        let handle = shadow.alloc(1 + random.below(200));
        assert_ne!(handle, 0);
        if step % 3 == 0 {
            shadow.free(handle);
        }
        shadow.check(step % 2000 == 0);
    }
    shadow.check(true);
}

/// `cargo test --release --test shadow -- --ignored` runs this and the next.
#[test]
#[ignore = "takes minutes"]
fn ten_million_random_calls_keep_the_contract() {
    let sizes: [&[u64]; 4] = [
        &[8, 24, 100, 300, 1024],
        &[16, 64, 100, 2000, 9000],
        &[16, 1024, 1025, 5000, 70_000],
        &[40, 200_000],
    ];
    let mut calls = 0_u32;
    for seed in 1000.. {
        let mut random = Random(seed);
        let mut shadow = Shadow::new([2, 3, 5, 40][(seed / 4 % 4) as usize]);
        for step in 0..2000 {
            if random.below(900) == 0 {
                shadow.grow_by_others(1);
            }
            shadow.step(&mut random, sizes[(seed % 4) as usize]);
            shadow.check(step % 100 == 99);
            calls += 1;
            if calls == 10_000_000 {
                return;
            }
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn every_sequence_of_up_to_seven_calls_keeps_the_contract() {
    let mut shadow = Shadow::new(3);
    // So that the sequences begin where memory is nearly full, and end where it is.
    let full = [shadow.alloc(50_000), shadow.alloc(2000), shadow.alloc(70_000)];
    assert!(full.iter().all(|&handle| handle != 0));
    assert_eq!(sequences(&shadow, 7), (0..=7).map(|length| CALLS.pow(length)).sum::<u32>());
}

const CALLS: u32 = 8;

/// Goes on from a state with every sequence of up to so many calls. Returns how many there were.
fn sequences(shadow: &Shadow, left: u32) -> u32 {
    let mut count = 1;
    for call in 0..if left == 0 { 0 } else { CALLS } {
        let mut shadow = shadow.clone();
        let newest = shadow.live.keys().next_back().copied().unwrap_or(0);
        let oldest = shadow.live.keys().next().copied().unwrap_or(0);
        match call {
            0 => _ = shadow.alloc(24),
            1 => _ = shadow.alloc(1100),
            2 => _ = shadow.alloc(60_000),
            3 => shadow.free(newest),
            4 => shadow.free(oldest),
            5 => shadow.output_set(newest, shadow.length(newest)),
            6 => shadow.error_set(oldest),
            _ => shadow.output_set(0, 0),
        }
        shadow.check(left == 1);
        count += sequences(&shadow, left - 1);
    }
    count
}
