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
