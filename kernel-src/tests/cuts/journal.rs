//! A memory that takes back what was done, knows its own hash, and watches what each call writes.

use std::ops::Range;
use std::panic::resume_unwind;

use extism_kernel::{FIRST_HEAD, Global, INITIAL_PAGES, Memory, PAGE_BYTES, PageCount, WideGlobal};

use crate::common::Cut;
use crate::sabotage::Sabotage;

/// Below this lies nothing that a call may write (L-6).
const BOTTOM: usize = extism_kernel::BASE as usize;

/// What takes one change back.
#[derive(Debug)]
enum Undo {
    /// So many of the bytes that were kept, to this address.
    Bytes(usize, usize),
    Global(usize, u32),
    Wide(usize, u64),
    /// Memory had so many bytes.
    Size(usize),
}

/// A moment to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    changes: usize,
    kept: usize,
    hash: u64,
}

/// Linear memory and globals, for one kernel.
#[derive(Debug)]
pub struct Journal {
    pub bytes: Vec<u8>,
    globals: [u32; Global::COUNT],
    wide_globals: [u64; WideGlobal::COUNT],
    /// The host grants no pages beyond this count.
    pub limit: u32,
    /// The call is cut before the change of state after so many more (L-3). A growth counts as two: it may be cut
    /// before and after the host grants it; a refused one as one.
    pub changes_left: u64,
    /// What no call may write: blocks, the output, pages of others.
    pub guarded: Vec<Range<u64>>,
    /// Where the call may write, if it is a store of a guest.
    pub store: Option<Range<u64>>,
    /// What is wrong with this kernel, if it is to be found out.
    pub sabotage: Option<Sabotage>,
    undo: Vec<Undo>,
    kept: Vec<u8>,
    hash: u64,
}

/// Mixes two numbers (the finalizer of MurmurHash3).
pub fn mix(place: u64, value: u64) -> u64 {
    let mut z = value ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    z = (z ^ (z >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    z ^ (z >> 33)
}

impl Journal {
    pub fn new(limit: u32) -> Self {
        let mut globals = [0; Global::COUNT];
        globals[Global::Head as usize] = FIRST_HEAD;
        globals[Global::Dirty as usize] = FIRST_HEAD;
        Self {
            bytes: vec![0; (INITIAL_PAGES.0 * PAGE_BYTES) as usize],
            globals,
            wide_globals: [0; WideGlobal::COUNT],
            limit,
            changes_left: u64::MAX,
            guarded: Vec::new(),
            store: None,
            sabotage: None,
            undo: Vec::new(),
            kept: Vec::new(),
            hash: 0,
        }
    }

    /// A hash of all state that the kernel can see.
    pub fn hash(&self) -> u64 {
        let globals = self.globals.iter().map(|&value| u64::from(value));
        let all = globals.chain(self.wide_globals).chain([self.bytes.len() as u64]);
        all.fold(self.hash, mix)
    }

    pub fn now(&self) -> Moment {
        Moment { changes: self.undo.len(), kept: self.kept.len(), hash: self.hash }
    }

    /// Takes back all that was done since a moment.
    pub fn back_to(&mut self, moment: Moment) {
        while self.undo.len() > moment.changes {
            self.take_back();
        }
        debug_assert_eq!(self.kept.len(), moment.kept);
        self.hash = moment.hash;
    }

    /// Takes back the latest change; the hash stays.
    fn take_back(&mut self) {
        match self.undo.pop().expect("something was done") {
            Undo::Bytes(at, count) => {
                let from = self.kept.len() - count;
                self.bytes[at..at + count].copy_from_slice(&self.kept[from..]);
                self.kept.truncate(from);
            }
            Undo::Global(at, value) => self.globals[at] = value,
            Undo::Wide(at, value) => self.wide_globals[at] = value,
            Undo::Size(size) => self.bytes.truncate(size),
        }
    }

    /// Writes as a host does: nothing is counted, cut or watched.
    pub fn write_freely(&mut self, at: usize, count: usize, write: impl FnOnce(&mut [u8])) {
        let whole = at & !7..(at + count + 7) & !7;
        self.hash = self.hash.wrapping_sub(self.hash_of(whole.clone()));
        self.kept.extend_from_slice(&self.bytes[at..at + count]);
        self.undo.push(Undo::Bytes(at, count));
        write(&mut self.bytes[at..at + count]);
        self.hash = self.hash.wrapping_add(self.hash_of(whole));
    }

    /// Grows as somebody else does.
    pub fn grow_by_others(&mut self, delta: u32) {
        let size = self.bytes.len() + (delta * PAGE_BYTES) as usize;
        self.resize(size);
        self.bytes[size - (delta * PAGE_BYTES) as usize..].fill(0xee);
    }

    fn resize(&mut self, size: usize) {
        self.undo.push(Undo::Size(self.bytes.len()));
        self.bytes.resize(size, 0);
    }

    /// The sum over words that are not 0, so that a page of zeros changes nothing.
    fn hash_of(&self, range: Range<usize>) -> u64 {
        let words = self.bytes[range.clone()].chunks_exact(8);
        let mut sum = 0_u64;
        for (at, word) in words.enumerate() {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            if word != 0 {
                sum = sum.wrapping_add(mix((range.start + at * 8) as u64, word));
            }
        }
        sum
    }

    /// Makes a change that brings back what the latest write wrote over, as if that were yet to come.
    fn undo_last_write(&mut self) {
        if let Some(&Undo::Bytes(at, count)) = self.undo.last() {
            let old = self.kept[self.kept.len() - count..].to_vec();
            self.write_freely(at, count, |bytes| bytes.copy_from_slice(&old));
        }
    }

    /// Counts a change of state, or cuts the call before it.
    fn change(&mut self) {
        if self.changes_left == 0 {
            resume_unwind(Box::new(Cut));
        }
        self.changes_left -= 1;
    }

    fn write(&mut self, base: u32, offset: u32, value: &[u8]) {
        self.change();
        let at = base as usize + offset as usize;
        self.watch(at, value.len());
        self.write_freely(at, value.len(), |bytes| bytes.copy_from_slice(value));
    }

    /// Panics if a call writes where it must not.
    fn watch(&self, at: usize, count: usize) {
        assert!(at + count <= self.bytes.len(), "it traps: a write of {count} bytes at {at}");
        assert!(at >= BOTTOM, "L-6: it writes {count} bytes at {at}, below the first block");
        let (start, end) = (at as u64, (at + count) as u64);
        if let Some(store) = &self.store {
            assert!(store.start <= start && end <= store.end, "M-1: a store at {store:?} wrote at {at}");
            return;
        }
        for range in &self.guarded {
            assert!(
                end <= range.start || range.end <= start,
                "it writes {count} bytes at {at}, in {range:?}"
            );
        }
    }

    fn read<const N: usize>(&self, base: u32, offset: u32) -> [u8; N] {
        let at = base as usize + offset as usize;
        let bytes = self.bytes.get(at..at + N);
        bytes.unwrap_or_else(|| panic!("it traps: a read at {at}")).try_into().expect("a range of N bytes")
    }
}

impl Memory for Journal {
    fn byte(&self, base: u32, offset: u32) -> u8 {
        self.read::<1>(base, offset)[0]
    }
    fn set_byte(&mut self, base: u32, offset: u32, value: u8) {
        self.write(base, offset, &[value]);
    }
    fn word(&self, base: u32, offset: u32) -> u32 {
        u32::from_le_bytes(self.read(base, offset))
    }
    fn set_word(&mut self, base: u32, offset: u32, value: u32) {
        self.write(base, offset, &value.to_le_bytes());
    }
    fn long(&self, base: u32, offset: u32) -> u64 {
        u64::from_le_bytes(self.read(base, offset))
    }
    fn set_long(&mut self, base: u32, offset: u32, value: u64) {
        self.write(base, offset, &value.to_le_bytes());
    }
    fn fill(&mut self, start: u32, value: u8, count: u32) {
        if self.sabotage == Some(Sabotage::NothingIsCleared) {
            return;
        }
        self.change();
        self.watch(start as usize, count as usize);
        self.write_freely(start as usize, count as usize, |bytes| bytes.fill(value));
    }
    fn copy(&mut self, to: u32, from: u32, count: u32) {
        self.change();
        self.watch(to as usize, count as usize);
        let source = self.bytes[from as usize..][..count as usize].to_vec();
        self.write_freely(to as usize, count as usize, |bytes| bytes.copy_from_slice(&source));
    }
    fn pages(&self) -> PageCount {
        PageCount((self.bytes.len() / PAGE_BYTES as usize) as u32)
    }
    fn grow(&mut self, delta: PageCount) -> bool {
        self.change();
        let pages = u64::from(self.pages().0) + u64::from(delta.0);
        if pages > u64::from(self.limit) {
            return false;
        }
        self.resize(pages as usize * PAGE_BYTES as usize);
        self.change();
        true
    }
    fn get(&self, global: Global) -> u32 {
        self.globals[global as usize]
    }
    fn set(&mut self, global: Global, value: u32) {
        match (self.sabotage, global) {
            (Some(Sabotage::NothingIsHalfDone), Global::Ready) if value == 0 => return,
            // Swapped with the write before, or with one that comes later: a cut between the two shows it.
            (Some(Sabotage::TableCountsEarly), Global::Table) if self.changes_left == 0 => {
                self.undo_last_write();
                self.globals[global as usize] = value;
            }
            (Some(Sabotage::SpanEndsEarly), Global::Used) if self.changes_left == 0 => {
                self.wide_globals[WideGlobal::Span as usize] = 0;
            }
            _ => {}
        }
        self.change();
        self.undo.push(Undo::Global(global as usize, self.globals[global as usize]));
        self.globals[global as usize] = value;
    }
    fn wide(&self, global: WideGlobal) -> u64 {
        self.wide_globals[global as usize]
    }
    fn set_wide(&mut self, global: WideGlobal, value: u64) {
        self.change();
        self.undo.push(Undo::Wide(global as usize, self.wide_globals[global as usize]));
        self.wide_globals[global as usize] = value;
    }
}
