//! Programs against the model of `tests/common`: the first byte of input sets the limit in pages, each
//! eight bytes after it choose the next random call.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{Random, Shadow};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&limit, program)) = data.split_first() else { return };
    let mut shadow = Shadow::new(2 + u32::from(limit % 40));
    for chunk in program.chunks(8) {
        let mut seed = [0; 8];
        seed[..chunk.len()].copy_from_slice(chunk);
        let mut random = Random(u64::from_le_bytes(seed));
        shadow.step(&mut random, &[16, 100, 1024, 1025, 9000, 70_000]);
        shadow.check(true);
    }
});
