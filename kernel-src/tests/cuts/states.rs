//! Reads `states.txt`, and makes what it says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use extism_kernel::Address;

use crate::common::Cut;
use crate::known::{FIRST, Span};
use crate::model::{Case, Whole};

/// One step or call: its words.
pub type Words = Vec<&'static str>;

/// A state by its name, and how a kernel comes into it.
#[derive(Debug)]
pub struct State {
    pub name: &'static str,
    pub limit: u32,
    pub steps: Vec<Words>,
}

/// What `states.txt` says: the calls, and the states in which they are cut.
pub fn read_states() -> (Vec<Words>, Vec<State>) {
    let (mut calls, mut states) = (Vec::new(), Vec::new());
    for line in include_str!("states.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.split(" | ").map(|part| part.split(' ').collect::<Words>());
        let first = parts.next().expect("a line is not empty");
        match first[..] {
            ["call", ..] => calls.push(first[1..].to_vec()),
            ["state", name, limit] => {
                states.push(State { name, limit: number(limit) as u32, steps: parts.collect() });
            }
            _ => panic!("`{line}`"),
        }
    }
    (calls, states)
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"))
}

/// A kernel in some state, and the names of its blocks; `-` is the handle 0.
pub struct Scene {
    pub case: Case,
    names: BTreeMap<&'static str, u64>,
}

impl Scene {
    pub fn new(state: &State) -> Self {
        let mut scene = Self { case: Case::new(state.limit), names: BTreeMap::from([("-", 0)]) };
        for step in &state.steps {
            scene.make(step);
            scene.case.check();
        }
        scene
    }

    fn alloc(&mut self, length: u64) -> u64 {
        let handle = self.case.alloc(length);
        if handle != 0 {
            self.case.mark_whole(handle);
        }
        handle
    }

    fn make(&mut self, step: &Words) {
        match step[..] {
            ["alloc", name, length] => {
                let handle = self.alloc(number(length));
                assert_ne!(handle, 0, "{step:?}");
                self.names.insert(name, handle);
            }
            ["many", count, length] => {
                for _ in 0..number(count) {
                    assert_ne!(self.alloc(number(length)), 0, "{step:?}");
                }
            }
            ["fill"] => (0..17).rev().for_each(|bit| while self.alloc(1 << bit) != 0 {}),
            ["forge", name, link] => {
                let (handle, link) = (self.names[name], number(link) as u32);
                let header = handle as usize - 4;
                self.case.kernel.memory_mut().write_freely(header, 4, |bytes| {
                    bytes.copy_from_slice(&link.to_le_bytes());
                });
                self.case.known.kill(handle);
            }
            ["others", pages] => {
                let start = self.case.memory().bytes.len() as u64;
                self.case.kernel.memory_mut().grow_by_others(number(pages) as u32);
                self.case.known.others.push((start, number(pages) * 65_536));
            }
            ["cut", changes, length] => {
                let call = vec!["alloc", length];
                let whole = self.call_whole(&call).expect("an alloc needs no name");
                self.cut(&call, &whole, number(changes));
            }
            _ => assert!(self.call(step).is_some(), "{step:?}"),
        }
    }

    /// Makes one of the calls that are cut; or returns `None` if it uses a name that the state does not have.
    /// Returns the handle that it is about.
    fn call(&mut self, words: &Words) -> Option<u64> {
        let handle = match words.get(1) {
            Some(name) if words[0] != "alloc" => *self.names.get(name)?,
            _ => 0,
        };
        let case = &mut self.case;
        let range = |offset: &str, length: &str| -> Span { (handle + number(offset), number(length)) };
        match words[..] {
            ["alloc", length] => return Some(case.alloc(number(length))),
            ["free", _] => case.free(handle),
            ["input", _, offset, length] => case.input_set(range(offset, length)),
            ["output", _, offset, length] => case.output_set(range(offset, length)),
            ["error", _] => case.error_set(handle),
            ["store_u64", _, offset] => case.store_u64(handle + number(offset)),
            ["store_u8", _, offset] => {
                let address = handle + number(offset);
                case.kernel.memory_mut().store = Some(address..address + 1);
                case.kernel.store_u8(Address(address), 0xa0);
                case.kernel.memory_mut().store = None;
            }
            ["reset"] => case.reset(),
            _ => panic!("`{words:?}` is no call"),
        }
        Some(handle)
    }

    /// Makes a call and takes it back.
    pub fn call_whole(&mut self, words: &Words) -> Option<Whole> {
        let (before, now) = (self.case.known.clone(), self.case.now());
        let begins_life = match words[..] {
            ["alloc", length] => self.case.begins_life(number(length)),
            ["reset"] => true,
            _ => false,
        };
        let was_half_done = self.case.is_half_done();
        let size = self.case.memory().bytes.len() as u64;
        self.case.kernel.memory_mut().changes_left = u64::MAX;
        let handle = self.call(words)?;
        let changes = u64::MAX - self.case.memory().changes_left;
        self.case.check();
        let after = self.case.known.clone();
        let made = (words[0] == "alloc" && handle != 0).then(|| (handle, after.length(handle)));
        self.case.back_to(now);
        Some(Whole { before, after, begins_life, was_half_done, made, size, changes })
    }

    /// Makes a call, cuts it after so many changes, and judges what it left. Returns the handle that it is about.
    pub fn cut(&mut self, words: &Words, whole: &Whole, changes: u64) -> u64 {
        self.case.kernel.memory_mut().changes_left = changes;
        let result = catch_unwind(AssertUnwindSafe(|| self.call(words)));
        let memory = self.case.kernel.memory_mut();
        memory.changes_left = u64::MAX;
        memory.store = None;
        match result {
            Ok(_) => panic!("it was not cut"),
            Err(payload) if payload.is::<Cut>() => {}
            Err(payload) => resume_unwind(payload),
        }
        self.case.judge_cut(whole);
        let named = words.get(1).and_then(|name| self.names.get(name)).copied();
        whole.made.map(|made| made.0).or(named).unwrap_or(FIRST)
    }
}
