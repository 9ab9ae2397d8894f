//! What a host may expect of a kernel after a call of it was cut (L-3): a judge of every later call.

use extism_kernel::{Address, Global, Handle, Kernel, Memory, WideGlobal};

use crate::journal::{Journal, Moment, mix};
use crate::known::{FIRST, Known, Span};

/// The longest block that `alloc` tries to have.
const LENGTH_MAX: u64 = 0xfff0_0000;
/// Of many blocks the first and the last so many are asked for.
const ASKED: usize = 6;

/// A call that was made whole, and is now to be cut.
#[derive(Debug)]
pub struct Whole {
    /// What was known before it, and is known after it.
    pub before: Known,
    pub after: Known,
    /// Whether it ends all blocks: it is `reset`, or an `alloc` that begins with one.
    pub begins_life: bool,
    /// Whether an earlier cut had left something half-done.
    pub was_half_done: bool,
    /// The block that it made.
    pub made: Option<Span>,
    /// Bytes of memory before it.
    pub size: u64,
    /// How often it changes state.
    pub changes: u64,
}

/// A kernel, and what must be true of it.
pub struct Case {
    pub kernel: Kernel<Journal>,
    pub known: Known,
}

fn overlap(a: Span, b: Span) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}

impl Case {
    pub fn new(limit: u32) -> Self {
        let known = Known { end: FIRST, ..Known::default() };
        Self { kernel: Kernel { memory: Journal::new(limit) }, known }
    }

    pub fn hash(&self) -> u64 {
        mix(self.memory().hash(), self.known.hash())
    }

    pub fn memory(&self) -> &Journal {
        self.kernel.memory()
    }

    pub fn now(&self) -> (Moment, Known) {
        (self.memory().now(), self.known.clone())
    }

    pub fn back_to(&mut self, (moment, known): (Moment, Known)) {
        self.kernel.memory_mut().back_to(moment);
        self.known = known;
    }

    /// Whether a cut left something half-done: then `free` does nothing, and `alloc` begins a new life.
    pub fn is_half_done(&self) -> bool {
        self.memory().get(Global::Ready) == 0
    }

    pub fn length(&self, handle: u64) -> u64 {
        self.kernel.length(Handle(handle))
    }

    /// Says which bytes the next call must leave alone.
    pub fn guard(&mut self) {
        let known = &self.known;
        let all = known.blocks.iter().chain(&known.others).chain([&known.output]);
        let guarded = &mut self.kernel.memory_mut().guarded;
        guarded.clear();
        guarded.extend(all.map(|&(start, length)| start..start + length));
    }

    pub fn begins_life(&self, length: u64) -> bool {
        self.is_half_done() && (1..=LENGTH_MAX).contains(&length)
    }

    pub fn alloc(&mut self, length: u64) -> u64 {
        let begins = self.begins_life(length);
        if begins {
            self.known.begin_life();
        }
        self.guard();
        let handle = self.kernel.alloc(length).0;
        if self.known.is_fresh && (1..=1500).contains(&length) {
            assert_eq!(handle, FIRST, "L-2: the first handle comes again");
        }
        if handle != 0 {
            self.judge_block((handle, length));
            self.known.is_fresh = false;
            self.known.stale.retain(|&stale| stale != handle);
            self.known.blocks.push((handle, length));
            self.mark((handle, length));
        }
        handle
    }

    /// Judges a block that was just handed out.
    fn judge_block(&mut self, block: Span) {
        let (handle, length) = block;
        let end = handle + length;
        assert!(length > 0 && handle % 16 == 0 && handle >= FIRST, "A-1: alloc({length}) is {handle}");
        assert!(end <= self.memory().bytes.len() as u64, "A-1: {block:?} is not inside memory");
        assert_eq!(self.length(handle), length, "A-6: the new block's length");
        let known = &self.known;
        let output = (known.output.1 > 0).then_some(&known.output);
        for &other in known.blocks.iter().chain(&known.others).chain(output) {
            assert!(!overlap(block, other), "{block:?} is handed out twice: {other:?}");
        }
        self.judge_shown(end);
    }

    /// Panics unless all bytes are zero that can be read only now, but for the hints (A-2, L-2).
    pub fn judge_shown(&mut self, end: u64) {
        let others = &self.known.others;
        // From the first to the last of them all is given up, and shows what is there.
        let (low, high) = match (others.first(), others.last()) {
            (Some(first), Some(last)) => (first.0, last.0 + last.1),
            _ => (end, end),
        };
        let start = self.known.end;
        for (start, end) in [(start, end.min(low)), (start.max(high), end)] {
            if let Some(at) = self.find_dirty(start as usize, end as usize) {
                panic!("A-2: byte {at} is not clean");
            }
        }
        self.known.end = start.max(end);
    }

    /// The first byte of a range that is not 0, but for the last four of each header, which may be a hint.
    fn find_dirty(&self, start: usize, end: usize) -> Option<usize> {
        let bytes = &self.memory().bytes;
        let is_dirty = |&at: &usize| bytes[at] != 0 && at % 16 < 12;
        let lines = start.next_multiple_of(16)..end & !15;
        let mut any = 0;
        for line in bytes.get(lines.clone()).unwrap_or_default().chunks_exact(16) {
            any |= u128::from_le_bytes(line.try_into().expect("sixteen bytes"));
        }
        let unclear = if any << 32 == 0 && !lines.is_empty() { lines } else { end..end };
        (start..unclear.start).chain(unclear.end..end).find(is_dirty)
    }

    /// Writes both ends of a block, as a host does.
    fn mark(&mut self, (handle, length): Span) {
        let mark = self.known.mark();
        for (start, end) in [(0, length.min(8)), (length.saturating_sub(8), length)] {
            let count = (end - start) as usize;
            self.kernel.memory_mut().write_freely((handle + start) as usize, count, |bytes| bytes.fill(mark));
        }
    }

    /// Fills a block.
    pub fn mark_whole(&mut self, handle: u64) {
        let (mark, length) = (self.known.mark(), self.known.length(handle) as usize);
        self.kernel.memory_mut().write_freely(handle as usize, length, |bytes| bytes.fill(mark));
    }

    pub fn free(&mut self, handle: u64) {
        self.guard();
        self.kernel.free(Handle(handle));
        if !self.is_half_done() {
            self.known.end_block(handle);
        }
    }

    pub fn input_set(&mut self, range: Span) {
        self.guard();
        self.kernel.input_set(Address(range.0), range.1);
        if self.known.accepts(range) {
            self.known.input = range;
        }
    }

    pub fn output_set(&mut self, range: Span) {
        let accepts = self.known.accepts(range);
        if accepts {
            self.known.output = (0, 0);
        }
        self.guard();
        self.kernel.output_set(Address(range.0), range.1);
        if accepts {
            self.known.output = range;
            let freed = std::mem::take(&mut self.known.output_freed);
            if !self.is_half_done() {
                self.known.end_block(freed);
            }
        }
    }

    pub fn error_set(&mut self, handle: u64) {
        let accepts = handle == 0 || self.length(handle) != 0;
        self.guard();
        self.kernel.error_set(Handle(handle));
        if accepts {
            self.known.error = handle;
            let freed = std::mem::take(&mut self.known.error_freed);
            if !self.is_half_done() {
                self.known.end_block(freed);
            }
        }
    }

    pub fn reset(&mut self) {
        self.known.begin_life();
        self.guard();
        self.kernel.reset();
        assert!(!self.is_half_done(), "L-3: reset repairs all");
    }

    /// A guest stores eight bytes of the life's mark.
    pub fn store_u64(&mut self, address: u64) {
        let mark = self.known.mark();
        let value = u64::from_le_bytes([mark; 8]);
        let bytes = self.memory().bytes.get(address as usize..).unwrap_or_default();
        let old: Vec<u8> = bytes.iter().take(8).copied().collect();
        self.kernel.memory_mut().store = Some(address..address + 8);
        self.kernel.store_u64(Address(address), value);
        self.kernel.memory_mut().store = None;
        for (at, old) in (address..).zip(old) {
            let is_inside = address >= FIRST && at < self.known.end;
            let byte = self.memory().bytes[at as usize];
            assert_eq!(byte, if is_inside { mark } else { old }, "M-2: byte {at} of a store at {address}");
        }
    }

    /// Compares all that can be read with what is known.
    pub fn check(&self) {
        let (kernel, known) = (&self.kernel, &self.known);
        if known.is_repaired {
            kernel.check_invariants();
        }
        assert_eq!((kernel.input_offset().0, kernel.input_length()), known.input, "R-1: the input");
        assert_eq!((kernel.output_offset().0, kernel.output_length()), known.output, "R-1: the output");
        assert_eq!(kernel.error_get().0, known.error, "R-2: the error");
        let many = known.blocks.len().saturating_sub(ASKED);
        for &(handle, length) in known.blocks.iter().take(ASKED).chain(known.blocks.iter().skip(many)) {
            assert_eq!(self.length(handle), length, "A-6: length({handle})");
            assert_eq!(self.length(handle + 16), known.length(handle + 16), "A-6: length({handle} + 16)");
        }
        for &handle in &known.stale {
            assert_eq!(self.length(handle), known.length(handle), "A-6: length({handle}), which is dead");
        }
        assert_eq!(kernel.load_u8(Address(known.end)), 0, "M-1: behind the end");
        assert_eq!(kernel.load_u64(Address(known.end - 7)), 0, "M-2: across the end");
        assert_eq!(kernel.load_u8(Address(FIRST - 1)), 0, "M-1: before the first handle");
        assert_eq!(kernel.load_u64(Address(0)), 0, "M-3: bytes 0 to 7");
        if known.end > FIRST {
            let last = kernel.load_u8(Address(known.end - 1));
            assert_eq!(last, self.memory().bytes[known.end as usize - 1], "M-1: the last byte");
        }
        assert_eq!(kernel.input_load_u8(known.input.1), 0, "M-4: behind the input");
        assert_eq!(kernel.input_load_u64(known.input.1.wrapping_sub(7)), 0, "M-4: across the input's end");
    }

    /// Takes over what a cut call left, if the call may have left that.
    pub fn judge_cut(&mut self, call: &Whole) {
        let (before, after) = (&call.before, &call.after);
        let is_half_done = self.is_half_done();
        self.known = before.clone();
        if call.was_half_done && !is_half_done {
            self.known.begin_life();
        }
        self.known.is_fresh = false;
        self.known.is_repaired = false;
        let kernel = &self.kernel;
        let input = (kernel.input_offset().0, kernel.input_length());
        let output = (kernel.output_offset().0, kernel.output_length());
        self.known.input = either("input", input, before.input, after.input);
        self.known.output = either("output", output, before.output, after.output);
        self.known.error = either("error", (kernel.error_get().0, 0), (before.error, 0), (after.error, 0)).0;
        // Which block ends when a register changes is seen only then; the globals say it now.
        self.known.output_freed = self.memory().wide(WideGlobal::OutputFreed);
        self.known.error_freed = self.memory().wide(WideGlobal::ErrorFreed);
        assert!([before.output_freed, after.output_freed, 0].contains(&self.known.output_freed), "A-7");
        assert!([before.error_freed, after.error_freed, 0].contains(&self.known.error_freed), "A-7");

        // Pages that were granted, but not taken over, are somebody else's.
        let grown = self.memory().bytes.len() as u64 - call.size;
        if grown > 0 && kernel.memory_bytes() <= call.size {
            self.known.others.push((call.size, grown));
        }

        for (handle, length) in self.known.blocks.clone() {
            let told = self.length(handle);
            if told != length {
                assert!(told == 0 && is_half_done, "A-6: length({handle}) is {told}, not {length}");
                self.known.blocks.retain(|block| block.0 != handle);
                self.known.bury(handle);
            }
        }
        let end = FIRST + self.memory().wide(WideGlobal::Span);
        assert!(end <= before.end.max(after.end), "M-1: more was handed out than the whole call does");
        assert!(end >= self.known.end || call.begins_life, "M-1: less is handed out than before");
        self.known.end = self.known.end.min(end);
        self.judge_shown(end);
        self.scan(call.made);
    }

    /// Asks for the length of every address. One block may have been made that nobody was told of.
    fn scan(&mut self, made: Option<Span>) {
        if let Some((handle, _)) = made {
            self.known.stale.retain(|&stale| stale != handle);
        }
        for handle in (FIRST..self.known.end + 64).step_by(16) {
            let length = self.length(handle);
            if length != self.known.length(handle) {
                assert_eq!(Some((handle, length)), made, "A-6: length({handle}) is {length}");
                self.known.blocks.push((handle, length));
            }
            assert_eq!(self.length(handle + 8), 0, "A-6: length({handle} + 8)");
        }
    }
}

/// A register after a cut: as before or as after, and its length may be 0 while it changes.
fn either(name: &str, now: Span, before: Span, after: Span) -> Span {
    let allowed = [before, after, (before.0, 0), (after.0, 0)];
    assert!(allowed.contains(&now), "R-1: the {name} is {now:?}, not one of {allowed:?}");
    now
}
