//! A memory that a test can limit.

use std::panic::resume_unwind;

use extism_kernel::{FIRST_HEAD, Global, INITIAL_PAGES, Memory, PAGE_BYTES, PageCount, WideGlobal};

use super::plain::PlainKernel;

/// What unwinds out of a call that is cut.
pub struct Cut;

/// Linear memory as a vector. An access outside panics, as WebAssembly would trap.
#[derive(Debug, Clone)]
pub struct TestMemory {
    pub bytes: Vec<u8>,
    /// The host grants no pages beyond this count.
    pub limit: u32,
    /// The host's limiter traps where it would refuse.
    pub traps: bool,
    /// Bytes cleared and copied, which the cost counts.
    pub bulk: u64,
    /// The call is cut before the change of state after so many more (L-3).
    pub changes_left: u64,
    globals: [u32; Global::COUNT],
    wide_globals: [u64; WideGlobal::COUNT],
}

impl TestMemory {
    pub fn new(limit: u32) -> Self {
        Self {
            bytes: vec![0; (INITIAL_PAGES.0 * PAGE_BYTES) as usize],
            limit,
            traps: false,
            bulk: 0,
            changes_left: u64::MAX,
            globals: {
                let mut globals = [0; Global::COUNT];
                globals[Global::Head as usize] = FIRST_HEAD;
                globals[Global::Dirty as usize] = FIRST_HEAD;
                globals
            },
            wide_globals: [0; WideGlobal::COUNT],
        }
    }

    fn read<const N: usize>(&self, base: u32, offset: u32) -> [u8; N] {
        let at = base as usize + offset as usize;
        self.bytes[at..at + N].try_into().expect("a range of N bytes")
    }

    fn write<const N: usize>(&mut self, base: u32, offset: u32, value: [u8; N]) {
        self.change();
        let at = base as usize + offset as usize;
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    /// Counts a change of state, or cuts the call before it.
    fn change(&mut self) {
        if self.changes_left == 0 {
            resume_unwind(Box::new(Cut));
        }
        self.changes_left -= 1;
    }

    /// Grows as somebody else would.
    pub fn grow_by_others(&mut self, delta: u32) {
        self.bytes.resize(self.bytes.len() + (delta * PAGE_BYTES) as usize, 0xee);
    }
}

impl Memory for TestMemory {
    fn byte(&self, base: u32, offset: u32) -> u8 {
        self.read::<1>(base, offset)[0]
    }
    fn set_byte(&mut self, base: u32, offset: u32, value: u8) {
        self.write(base, offset, [value]);
    }
    fn word(&self, base: u32, offset: u32) -> u32 {
        u32::from_le_bytes(self.read(base, offset))
    }
    fn set_word(&mut self, base: u32, offset: u32, value: u32) {
        self.write(base, offset, value.to_le_bytes());
    }
    fn long(&self, base: u32, offset: u32) -> u64 {
        u64::from_le_bytes(self.read(base, offset))
    }
    fn set_long(&mut self, base: u32, offset: u32, value: u64) {
        self.write(base, offset, value.to_le_bytes());
    }
    fn fill(&mut self, start: u32, value: u8, count: u32) {
        self.change();
        self.bulk += u64::from(count);
        self.bytes[start as usize..][..count as usize].fill(value);
    }
    fn copy(&mut self, to: u32, from: u32, count: u32) {
        self.change();
        self.bulk += u64::from(count);
        self.bytes.copy_within(from as usize..from as usize + count as usize, to as usize);
    }
    fn pages(&self) -> PageCount {
        PageCount((self.bytes.len() / PAGE_BYTES as usize) as u32)
    }
    fn grow(&mut self, delta: PageCount) -> bool {
        let pages = u64::from(self.pages().0) + u64::from(delta.0);
        if pages > u64::from(self.limit) {
            assert!(!self.traps, "memory.grow trapped");
            return false;
        }
        self.change();
        self.bytes.resize(pages as usize * PAGE_BYTES as usize, 0);
        true
    }
    fn get(&self, global: Global) -> u32 {
        self.globals[global as usize]
    }
    fn set(&mut self, global: Global, value: u32) {
        self.change();
        self.globals[global as usize] = value;
    }
    fn wide(&self, global: WideGlobal) -> u64 {
        self.wide_globals[global as usize]
    }
    fn set_wide(&mut self, global: WideGlobal, value: u64) {
        self.change();
        self.wide_globals[global as usize] = value;
    }
}

/// A kernel over a fresh memory.
pub fn kernel(limit: u32) -> PlainKernel {
    PlainKernel::new(TestMemory::new(limit))
}
