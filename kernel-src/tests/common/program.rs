//! Random programs for the model.

use super::{FIRST, RECORD, Shadow};

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

impl Shadow {
    fn pick(&self, random: &mut Random) -> u64 {
        let handle = match random.below(3) {
            0 => self.live.keys().next_back().copied().unwrap_or(0),
            1 => {
                let from = FIRST + random.below(self.bytes.len() as u64 + 64);
                self.live.range(from..).next().map_or(0, |(&handle, _)| handle)
            }
            _ => self.stale[random.below(self.stale.len() as u64) as usize],
        };
        match random.below(12) {
            0 => handle.wrapping_add(1),
            1 => handle.wrapping_sub(8),
            2 => handle.wrapping_add(16),
            3 => random.next(),
            _ => handle,
        }
    }

    /// Runs one random call.
    pub fn step(&mut self, random: &mut Random, sizes: &[u64]) {
        let sizes_at = |random: &mut Random| sizes[random.below(sizes.len() as u64) as usize];
        match random.below(32) {
            0..=9 => {
                let most = sizes_at(random);
                let length = if random.below(4) == 0 { most } else { 1 + random.below(most) };
                let handle = self.alloc(length);
                if handle != 0 && random.below(2) == 0 {
                    for at in [handle, handle + length - 1, handle + length / 2] {
                        self.store_u8(at, random.next() as u8 | 1);
                    }
                }
            }
            10..=17 => {
                let handle = self.pick(random);
                self.free(handle);
            }
            18..=20 => {
                // Over headers, free ranges and the ends of blocks.
                let address = self.pick(random).wrapping_sub(random.below(24));
                self.store_u64(address, random.next() >> random.below(64));
            }
            21 => {
                // Over a hint, mostly with what is one.
                let address = self.pick(random).wrapping_sub(8);
                let link = random.below(2 * self.blocks_ever + 3) * RECORD + random.below(8) / 7;
                self.store_u64(address, link << 32);
            }
            22 => {
                let address = FIRST + random.below(self.bytes.len() as u64 + 32);
                self.store_u8(address, random.next() as u8);
                self.load(address);
            }
            23 | 24 => {
                let address = self.pick(random);
                self.load(address);
                self.load(random.below(40));
                self.load(self.end().wrapping_sub(random.below(16)));
            }
            25 => {
                let handle = self.pick(random);
                let length = self.live.get(&handle).copied().unwrap_or(random.below(100));
                self.input_set(handle, length);
            }
            26 | 27 => {
                let handle = self.pick(random);
                let length = self.live.get(&handle).copied().unwrap_or(random.below(200));
                self.output_set(
                    handle.wrapping_add(random.below(2) * 8),
                    length.saturating_sub(random.below(2) * 8),
                );
            }
            28 => {
                let handle = self.pick(random);
                self.error_set(handle);
            }
            29 => match random.below(3) {
                0 => self.output_set(0, 0),
                1 => self.error_set(0),
                _ => self.input_set(0, 0),
            },
            30 => {
                let most =
                    [0, u64::MAX, u64::MAX - 12, 1 << 32, (1 << 32) - 1, 1 << 48, 1 << 63, 0xffff_0001];
                let length = most[random.below(most.len() as u64) as usize];
                self.alloc(length);
            }
            _ => {
                if random.below(40) == 0 {
                    self.reset();
                }
            }
        }
    }
}
