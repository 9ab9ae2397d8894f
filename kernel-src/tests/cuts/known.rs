//! What a host knows of a kernel, and what must follow from it.

use extism_kernel::FIRST_HANDLE;

use crate::journal::mix;

pub const FIRST: u64 = FIRST_HANDLE as u64;
/// Dead handles that are still asked for.
const STALE_MAX: usize = 6;

/// A range of bytes: where it begins, how long it is.
pub type Span = (u64, u64);

/// What is known of a kernel from outside, and whether a cut left something half-done.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Handles and lengths of the live blocks, in the order in which they were made.
    pub blocks: Vec<Span>,
    /// Handles that are dead.
    pub stale: Vec<u64>,
    pub input: Span,
    pub output: Span,
    pub error: u64,
    /// Freed while the output, the error held it.
    pub output_freed: u64,
    pub error_freed: u64,
    /// The end of what was handed out; `FIRST` if nothing was.
    pub end: u64,
    /// Pages of others.
    pub others: Vec<Span>,
    /// Whether nothing was done since `reset`.
    pub is_fresh: bool,
    /// Whether this life began after the cut.
    pub is_repaired: bool,
    /// How many lives there were: every life writes another mark.
    pub life: u8,
}

impl Known {
    /// The byte that blocks of this life are full of.
    pub fn mark(&self) -> u8 {
        0xa1 + self.life % 64
    }

    pub fn hash(&self) -> u64 {
        let blocks = self.blocks.iter().flat_map(|&(handle, length)| [handle, length]);
        let others = self.others.iter().map(|&(start, _)| start);
        let (input, output) = (self.input, self.output);
        let rest = [
            u64::from(self.is_fresh),
            u64::from(self.is_repaired),
            input.0,
            input.1,
            output.0,
            output.1,
            self.error,
            self.output_freed,
            self.error_freed,
        ];
        let all = blocks.chain([1]).chain(self.stale.iter().copied()).chain([2]).chain(others).chain(rest);
        all.fold(mix(self.end, self.life.into()), mix)
    }

    pub fn begin_life(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        blocks.iter().take(3).for_each(|&(handle, _)| self.bury(handle));
        (self.input, self.output, self.error) = ((0, 0), (0, 0), 0);
        (self.output_freed, self.error_freed) = (0, 0);
        self.end = FIRST;
        self.is_fresh = true;
        self.is_repaired = true;
        self.life += 1;
    }

    /// The guest overwrote a block's header: its handle is dead, its bytes stay.
    pub fn kill(&mut self, handle: u64) {
        self.blocks.retain(|block| block.0 != handle);
        self.bury(handle);
    }

    pub fn bury(&mut self, handle: u64) {
        if !self.stale.contains(&handle) {
            if self.stale.len() == STALE_MAX {
                self.stale.remove(0);
            }
            self.stale.push(handle);
        }
    }

    pub fn length(&self, handle: u64) -> u64 {
        self.blocks.iter().find(|block| block.0 == handle).map_or(0, |block| block.1)
    }

    /// A live block ends, or is left to the register that holds it.
    pub fn end_block(&mut self, handle: u64) {
        if self.length(handle) == 0 {
        } else if self.output.0 == handle {
            self.output_freed = handle;
        } else if self.error == handle {
            self.error_freed = handle;
        } else {
            self.blocks.retain(|block| block.0 != handle);
            self.bury(handle);
            if self.input.0 == handle {
                self.input.1 = 0;
            }
        }
    }

    pub fn accepts(&self, (offset, length): Span) -> bool {
        (offset, length) == (0, 0)
            || self.end > FIRST && offset >= FIRST && offset <= self.end && length <= self.end - offset
    }
}
