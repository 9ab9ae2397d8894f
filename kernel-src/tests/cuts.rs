//! L-3: calls are cut at every change of state, and whatever comes next is judged.

#[path = "common/mod.rs"]
mod common;
#[path = "cuts/journal.rs"]
mod journal;
#[path = "cuts/known.rs"]
mod known;
#[path = "cuts/model.rs"]
mod model;
#[path = "cuts/sabotage.rs"]
mod sabotage;
#[path = "cuts/search.rs"]
mod search;
#[path = "cuts/states.rs"]
mod states;

use std::io::Write;

use common::{PlainKernel, kernel};
use extism_kernel::FIRST_HANDLE;
use sabotage::Sabotage;
use search::Search;

/// Calls after a cut.
const DEPTH: u32 = 4;
const FIRST: u64 = FIRST_HANDLE as u64;

#[test]
fn after_every_cut_every_sequence_of_calls_keeps_the_contract() {
    let mut search = Search::default();
    assert_eq!(search.run(DEPTH, None), Ok(()));
    // Past the test harness, which would keep it to itself.
    writeln!(std::io::stderr(), "{:?}", search.count).expect("stderr can be written");
    assert!(search.count.cuts > 5000 && search.count.distinct > 3000, "{:?}", search.count);
}

/// What the search must say of a broken kernel.
fn find_out(sabotage: Sabotage, words: &str) {
    let found = Search::default().run(DEPTH, Some(sabotage)).expect_err("it is broken");
    assert!(found.contains(words), "{found}");
}

#[test]
fn a_kernel_that_clears_nothing_is_found_out() {
    find_out(Sabotage::NothingIsCleared, "is not clean");
}

#[test]
fn a_kernel_that_does_not_say_what_is_half_done_is_found_out() {
    find_out(Sabotage::NothingIsHalfDone, "cut before change");
}

#[test]
fn a_kernel_that_counts_a_record_too_early_is_found_out() {
    find_out(Sabotage::TableCountsEarly, "is not inside memory");
}

#[test]
fn a_kernel_that_forgets_too_early_what_was_used_is_found_out() {
    find_out(Sabotage::SpanEndsEarly, "is not clean");
}

/// Brings a kernel into a state, cuts `alloc(length)` in it at every place, and goes on with each.
fn after_any_cut(setup: fn(&mut PlainKernel), length: u64, go_on: fn(&mut PlainKernel)) {
    for changes in 0.. {
        let mut kernel = kernel(8);
        setup(&mut kernel);
        if !kernel.cut(changes, |kernel| _ = kernel.alloc(length)) {
            assert!(changes > 5, "the call changes something");
            return;
        }
        kernel.error_set(0);
        go_on(&mut kernel);
    }
}

#[test]
fn after_any_cut_no_length_goes_on_for_ever() {
    let setup = |kernel: &mut PlainKernel| {
        let first = kernel.alloc(2000);
        kernel.alloc(16);
        kernel.free(first);
    };
    after_any_cut(setup, 16, |kernel| {
        kernel.alloc(1100);
        for address in 0..FIRST + 8192 {
            assert!([0, 16, 1100, 2000].contains(&kernel.length(address)));
        }
    });
}

#[test]
fn after_any_cut_no_bytes_are_handed_out_twice() {
    let setup = |kernel: &mut PlainKernel| {
        let first = kernel.alloc(0x4000);
        kernel.free(first);
    };
    after_any_cut(setup, 0x349, |kernel| {
        let freed = kernel.alloc(0x4ae);
        kernel.free(freed);
        let mut blocks = [0xd1fc, 0x62f, 0x67].map(|length| (kernel.alloc(length), length));
        blocks.sort_unstable();
        for pair in blocks.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{blocks:x?}");
        }
    });
}
