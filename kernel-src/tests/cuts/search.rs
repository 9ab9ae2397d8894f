//! Every state, every call, every cut, and then every sequence of calls.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::model::Case;
use crate::sabotage::Sabotage;
use crate::states::{Scene, Words, read_states};

/// What hosts do after a cut, and what they should not.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    ErrorClear,
    Reset,
    Alloc(u64),
    FreeNewest,
    FreeOldest,
    /// The block of the call that was cut: of `alloc` one that no host was told of.
    FreeOfCut,
    /// The newest block, or nothing if there is an output.
    Output,
    /// The oldest block.
    Input,
    /// Across the end of the newest block, and behind it.
    Store,
}

pub const NEXT: [Next; 12] = [
    Next::ErrorClear,
    Next::Reset,
    Next::Alloc(24),
    Next::Alloc(1500),
    Next::Alloc(40_000),
    Next::Alloc(140_000),
    Next::FreeNewest,
    Next::FreeOldest,
    Next::FreeOfCut,
    Next::Output,
    Next::Input,
    Next::Store,
];

/// What a search did.
#[derive(Debug, Default)]
pub struct Count {
    pub states: u64,
    /// States and calls.
    pub pairs: u64,
    pub cuts: u64,
    /// Cuts that left what no other had left.
    pub distinct: u64,
    /// Sequences of calls after cuts: all that there are.
    pub sequences: u64,
    /// Calls that were made for them: what was seen before is not searched again.
    pub calls: u64,
}

#[derive(Default)]
pub struct Search {
    pub count: Count,
    /// For each state, by its hash: after how many calls it was still searched.
    seen: HashMap<u64, u32>,
    path: Vec<Next>,
    of_cut: u64,
}

impl Search {
    /// Searches with sequences of up to `depth` calls. Returns what is wrong.
    pub fn run(&mut self, depth: u32, sabotage: Option<Sabotage>) -> Result<(), String> {
        let (calls, states) = read_states();
        for state in &states {
            self.count.states += 1;
            let mut scene = Scene::new(state);
            scene.case.kernel.memory_mut().sabotage = sabotage;
            for call in &calls {
                let mut changes = None;
                let result = catch_unwind(AssertUnwindSafe(|| {
                    self.search_call(&mut scene, call, depth, &mut changes);
                }));
                if let Err(panic) = result {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                    let (name, path) = (state.name, &self.path);
                    return Err(format!(
                        "{name}: {call:?} cut before change {changes:?}, then {path:?}: {text}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn search_call(&mut self, scene: &mut Scene, call: &Words, depth: u32, changes: &mut Option<u64>) {
        self.path.clear();
        let Some(whole) = scene.call_whole(call) else { return };
        self.count.pairs += 1;
        for at in 0..whole.changes {
            *changes = Some(at);
            let now = scene.case.now();
            self.of_cut = scene.cut(call, &whole, at);
            self.count.cuts += 1;
            self.count.sequences += (1..=depth).map(|length| (NEXT.len() as u64).pow(length)).sum::<u64>();
            let before = self.seen.len();
            self.explore(&mut scene.case, depth);
            self.count.distinct += u64::from(self.seen.len() > before);
            scene.case.back_to(now);
        }
    }

    /// Checks a state, and those to which up to `left` calls lead from it.
    fn explore(&mut self, case: &mut Case, left: u32) {
        let seen = self.seen.entry(case.hash() ^ self.of_cut).or_insert(u32::MAX);
        let is_new = *seen == u32::MAX;
        if !is_new && *seen >= left {
            return;
        }
        *seen = left;
        if is_new {
            case.check();
        }
        if left == 0 {
            return;
        }
        for next in NEXT {
            let now = case.now();
            self.path.push(next);
            self.count.calls += 1;
            self.call(case, next);
            self.explore(case, left - 1);
            self.path.pop();
            case.back_to(now);
        }
    }

    fn call(&self, case: &mut Case, next: Next) {
        let (oldest, oldest_length) = case.known.blocks.first().copied().unwrap_or((self.of_cut, 0));
        let (newest, length) = case.known.blocks.last().copied().unwrap_or((self.of_cut, 0));
        match next {
            Next::ErrorClear => case.error_set(0),
            Next::Reset => case.reset(),
            Next::Alloc(length) => _ = case.alloc(length),
            Next::FreeNewest => case.free(newest),
            Next::FreeOldest => case.free(oldest),
            Next::FreeOfCut => case.free(self.of_cut),
            Next::Output if case.known.output == (0, 0) => case.output_set((newest, length)),
            Next::Output => case.output_set((0, 0)),
            Next::Input => case.input_set((oldest, oldest_length)),
            Next::Store => {
                case.store_u64((newest + length).saturating_sub(4));
                case.store_u64(newest + length);
            }
        }
    }
}
