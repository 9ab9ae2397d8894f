//! A model of the kernel that random programs are checked against, over a memory that a test can limit.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod memory;
mod plain;
mod program;

use std::collections::BTreeMap;

use extism_kernel::{FIRST_HANDLE, Memory, PAGE_BYTES};

pub use self::memory::{Cut, TestMemory, kernel};
pub use self::plain::PlainKernel;
pub use self::program::Random;

/// What the contract says the kernel's state is, kept beside the kernel itself.
#[derive(Clone)]
pub struct Shadow {
    pub kernel: PlainKernel,
    /// Handle to length.
    pub live: BTreeMap<u64, u64>,
    /// What the word before each live block says if no guest wrote there: then its handle works.
    hints: BTreeMap<u64, [u8; 4]>,
    /// Freed while the output, the error held it.
    output_freed: u64,
    error_freed: u64,
    /// Handles that were once live.
    stale: Vec<u64>,
    /// All bytes from the first handle to the end of what was handed out.
    bytes: Vec<u8>,
    input: (u64, u64),
    output: (u64, u64),
    error: u64,
    holes: Vec<(u64, u64)>,
    blocks_ever: u64,
}

const FIRST: u64 = FIRST_HANDLE as u64;
/// Bytes of a record.
const RECORD: u64 = 20;

impl Shadow {
    pub fn new(limit: u32) -> Self {
        Self {
            kernel: kernel(limit),
            live: BTreeMap::new(),
            hints: BTreeMap::new(),
            output_freed: 0,
            error_freed: 0,
            stale: vec![0, 1, 8, FIRST, FIRST + 8, u64::MAX],
            bytes: Vec::new(),
            input: (0, 0),
            output: (0, 0),
            error: 0,
            holes: Vec::new(),
            blocks_ever: 0,
        }
    }

    fn end(&self) -> u64 {
        FIRST + self.bytes.len() as u64
    }

    pub fn alloc(&mut self, length: u64) -> u64 {
        let pages = self.kernel.memory().pages().0;
        let owned = self.kernel.memory_bytes();
        let handle = self.kernel.alloc(length);
        let grown = u64::from(self.kernel.memory().pages().0 - pages);
        if handle == 0 {
            assert_eq!(grown, 0, "a refusal changes nothing");
            let left = u64::from(self.kernel.memory().limit.saturating_sub(pages)) * u64::from(PAGE_BYTES);
            let overhead = 65536 + self.blocks_ever * 2 * RECORD;
            assert!(length == 0 || length.saturating_add(overhead) > left, "A-4: {length} bytes fit {left}");
            return 0;
        }
        self.blocks_ever += 1;
        assert!(length > 0, "A-1: alloc(0) is 0");
        assert_eq!(handle % 8, 0, "A-1: a handle is a multiple of 8");
        assert!(grown <= self.growth_max(length, pages), "A-3: {grown} pages for {length} bytes");
        let end = handle + length;
        assert!(
            handle >= FIRST && end <= self.kernel.memory_bytes() + self.hole_bytes(),
            "A-1: inside memory"
        );
        if let Some((&below, &n)) = self.live.range(..end).next_back() {
            assert!(below + n <= handle, "A-1: {handle}+{length} overlaps {below}+{n}");
        }
        for &(low, high) in &self.holes {
            assert!(end <= low || handle >= high, "A-3: a block lies in somebody else's pages");
        }
        let (offset, n) = self.output;
        assert!(n == 0 || end <= offset || offset + n <= handle, "R-3: the output was given away");
        if length <= 1024 && handle < self.end() && self.holes.is_empty() {
            let unused = owned.saturating_sub(self.end());
            let overhead = 16384 + self.blocks_ever * 2 * RECORD;
            assert!(unused < length + overhead, "A-5: a range was reused with {unused} unused bytes");
        }
        let old_end = self.end();
        if end > old_end {
            self.bytes.resize((end - FIRST) as usize, 0);
        }
        // What others own shows what they wrote, and so does what is given up between their pages.
        if let (Some(&(low, _)), Some(&(_, high))) = (self.holes.first(), self.holes.last()) {
            for at in low.max(old_end)..high.min(end) {
                self.bytes[(at - FIRST) as usize] = self.kernel.memory().bytes[at as usize];
            }
        }
        // The header is the kernel's to write.
        for at in handle.saturating_sub(16).max(FIRST)..handle {
            self.bytes[(at - FIRST) as usize] = self.kernel.memory().bytes[at as usize];
        }
        self.live.insert(handle, length);
        self.hints.insert(handle, self.hint(handle));
        self.stale.push(handle);
        self.check_bytes(handle.saturating_sub(32).max(FIRST), end);
        handle
    }

    /// The pages that a block may ask for in a memory of `pages`, `blocks_ever` including it.
    fn growth_max(&self, length: u64, pages: u32) -> u64 {
        // Each block, and what is left when a range is split, has a record.
        let table = self.blocks_ever * 2 * RECORD;
        let mut bytes = (length + 16).next_multiple_of(16);
        if !self.holes.is_empty() {
            // Behind somebody else's pages there is no room yet for the table.
            bytes += table + 4096;
        }
        let ample = if pages >= 64 { pages / 8 } else { 0 };
        bytes.div_ceil(u64::from(PAGE_BYTES)) + 1 + u64::from(ample)
    }

    fn hole_bytes(&self) -> u64 {
        self.holes.iter().map(|(low, high)| high - low).sum()
    }

    fn check_bytes(&self, from: u64, to: u64) {
        let memory = &self.kernel.memory().bytes[from as usize..to as usize];
        let model = &self.bytes[(from - FIRST) as usize..(to - FIRST) as usize];
        if memory != model {
            let at = memory.iter().zip(model).position(|(a, b)| a != b).expect("they differ");
            panic!("A-2: byte {} is {}, not {}", from + at as u64, memory[at], model[at]);
        }
    }

    fn hint(&self, handle: u64) -> [u8; 4] {
        self.kernel.memory().bytes[handle as usize - 4..handle as usize].try_into().expect("four bytes")
    }

    /// The length that the kernel is to give for a handle: 0 also if its header was overwritten.
    pub fn length(&self, handle: u64) -> u64 {
        match self.live.get(&handle) {
            Some(&length) if self.hints[&handle] == self.hint(handle) => length,
            _ => 0,
        }
    }

    pub fn free(&mut self, handle: u64) {
        self.kernel.free(handle);
        self.end_block(handle);
    }

    /// Ends a block, or leaves it to the register that holds it.
    fn end_block(&mut self, handle: u64) {
        if self.length(handle) == 0 {
        } else if self.output.0 == handle {
            self.output_freed = handle;
        } else if self.error == handle {
            self.error_freed = handle;
        } else {
            self.live.remove(&handle);
            if self.input.0 == handle {
                self.input.1 = 0;
            }
        }
    }

    fn accepts(&self, offset: u64, length: u64) -> bool {
        offset == 0 && length == 0
            || !self.bytes.is_empty()
                && offset >= FIRST
                && offset <= self.end()
                && length <= self.end() - offset
    }

    pub fn input_set(&mut self, offset: u64, length: u64) {
        self.kernel.input_set(offset, length);
        if self.accepts(offset, length) {
            self.input = (offset, length);
        }
    }

    pub fn output_set(&mut self, offset: u64, length: u64) {
        self.kernel.output_set(offset, length);
        if self.accepts(offset, length) {
            self.output = (offset, length);
            let freed = std::mem::take(&mut self.output_freed);
            self.end_block(freed);
        }
    }

    pub fn error_set(&mut self, handle: u64) {
        self.kernel.error_set(handle);
        if handle == 0 || self.length(handle) != 0 {
            self.error = handle;
            let freed = std::mem::take(&mut self.error_freed);
            self.end_block(freed);
        }
    }

    pub fn store_u8(&mut self, address: u64, value: u8) {
        self.kernel.store_u8(address, value.into());
        if address >= FIRST && address < self.end() {
            self.bytes[(address - FIRST) as usize] = value;
        }
    }

    pub fn store_u64(&mut self, address: u64, value: u64) {
        self.kernel.store_u64(address, value);
        if address >= FIRST && address < self.end() {
            for (at, byte) in (address..self.end()).zip(value.to_le_bytes()) {
                self.bytes[(at - FIRST) as usize] = byte;
            }
        }
    }

    fn model_u64(&self, address: u64, end: u64) -> u64 {
        if address < FIRST || address.checked_add(8).is_none_or(|to| to > end) {
            return 0;
        }
        let at = (address - FIRST) as usize;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    pub fn load(&mut self, address: u64) {
        let end = self.end();
        let byte = if address >= FIRST && address < end { self.bytes[(address - FIRST) as usize] } else { 0 };
        assert_eq!(self.kernel.load_u8(address), byte, "M-1: load_u8({address})");
        assert_eq!(self.kernel.load_u64(address), self.model_u64(address, end), "M-2: load_u64({address})");
        let (offset, length) = self.input;
        let inside = address < length;
        let byte = if inside { self.bytes[(offset + address - FIRST) as usize] } else { 0 };
        assert_eq!(self.kernel.input_load_u8(address), byte, "M-4: input_load_u8({address})");
        let long = if inside { self.model_u64(offset + address, offset + length) } else { 0 };
        assert_eq!(self.kernel.input_load_u64(address), long, "M-4: input_load_u64({address})");
    }

    pub fn reset(&mut self) {
        self.kernel.reset();
        self.live.clear();
        self.hints.clear();
        self.output_freed = 0;
        self.error_freed = 0;
        self.bytes.clear();
        self.input = (0, 0);
        self.output = (0, 0);
        self.error = 0;
        self.blocks_ever = 0;
    }

    pub fn grow_by_others(&mut self, delta: u32) {
        let low = self.kernel.memory().bytes.len() as u64;
        self.kernel.memory_mut().grow_by_others(delta);
        self.holes.push((low, self.kernel.memory().bytes.len() as u64));
    }

    /// Compares what can be seen through the exports, and scans the kernel's own state.
    pub fn check(&mut self, is_thorough: bool) {
        assert_eq!((self.kernel.input_offset(), self.kernel.input_length()), self.input);
        assert_eq!((self.kernel.output_offset(), self.kernel.output_length()), self.output);
        assert_eq!(self.kernel.error_get(), self.error);
        assert_eq!(self.kernel.memory().bytes[..8], [0; 8], "M-3: bytes 0 to 7 stay 0");
        for handle in self.stale.iter().rev().take(8).copied().chain([self.end(), self.end() + 1]) {
            for near in [handle, handle.wrapping_add(1), handle.wrapping_add(8), handle.wrapping_add(16)] {
                let want = self.length(near);
                assert_eq!(self.kernel.length(near), want, "A-6: length({near})");
            }
        }
        if is_thorough {
            for &handle in self.live.keys() {
                assert_eq!(self.kernel.length(handle), self.length(handle), "A-6: length({handle})");
            }
            self.check_bytes(FIRST, self.end());
            self.kernel.check_invariants();
            self.kernel.check_unused_bytes();
        }
    }
}
