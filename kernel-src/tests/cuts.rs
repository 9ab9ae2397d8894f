//! L-3: calls are cut at every change of state, and whatever comes next is judged.

#[path = "common/mod.rs"]
mod common;
#[path = "cuts/journal.rs"]
mod journal;
#[path = "cuts/model.rs"]
mod model;
#[path = "cuts/sabotage.rs"]
mod sabotage;
#[path = "cuts/search.rs"]
mod search;
#[path = "cuts/states.rs"]
mod states;

use std::io::Write;

use sabotage::Sabotage;
use search::Search;

/// Calls after a cut.
const DEPTH: u32 = 4;

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
