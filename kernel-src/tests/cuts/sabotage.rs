//! Kernels that are broken on purpose, by what their memory makes of a write: the search must find out each.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// No byte is cleared.
    NothingIsCleared,
    /// A call does not say that it leaves things half-done while it runs.
    NothingIsHalfDone,
    /// Two writes are swapped: the table counts a record before all of it is written.
    TableCountsEarly,
    /// Two writes are swapped: what was handed out is forgotten before it is noted as used.
    SpanEndsEarly,
}
