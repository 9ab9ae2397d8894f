"""What is proved of the exports that follow links in the table and of `reset`.

What a load finds in the table is what was stored, or what the table held before the call. Of that is assumed
what `rows.py` says, where `ready` is not 0; and the same is then proved at every moment of the call at which
`ready` is not 0, for any record and any bin. While `ready` is 0 nothing is assumed or claimed of the table:
`free` then does nothing, `alloc` begins with `reset`, and `reset` relies on the globals alone (L-3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import z3

from build_tools.proof.claims import NO_STORE, SAME, Claim, only_changes
from build_tools.proof.layout import FIRST_HANDLE, PLACE, PREV, RECORD
from build_tools.proof.machine import PAGE_BITS
from build_tools.proof.roles import SET_BY_RESET
from build_tools.proof.rows import check_bin, check_globals, check_record
from build_tools.proof.runs import ANY_BIN, ANY_RECORD
from build_tools.proof.states import invariant, memory_end, table_invariant, wide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.proof.machine import Formula, State
    from build_tools.proof.runs import Run

OF_THE_TABLE = ("head", "table", "ready", "spare", "hole_end", "span")
"""The globals that `rows.py` names: a change of any other leaves what it says as it was."""
CLEARED = (
    "span",
    "whole",
    "spare",
    "input_offset",
    "input_length",
    "output_offset",
    "output_length",
    "error",
)


def _inside(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """Hold each access to lie in memory as it is then, and to be of a kind that `table.py` knows."""
    view = run.view(run.before, 0)
    checks = {id(check.access): check for check in view.table.checks}
    for access in run.accesses:
        if access.kind == "unreachable":
            yield access.reached, z3.BoolVal(False)  # noqa: FBT003 - z3's own signature
            continue
        check, end = checks.get(id(access)), access.start + access.size
        # Memory never shrinks: what lay inside it before the call, such as what is copied, still does.
        most = memory_end(run.before) if check is None else wide(check.pages) << PAGE_BITS
        yield access.reached, z3.And(z3.UGE(end, access.start), z3.ULE(end, most))
        if check is not None:
            yield access.reached, check.holds


def _holds(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """Hold the invariants to be true after each change of a global or of memory, and at the end."""
    named = {run.roles[name] for name in OF_THE_TABLE}
    for change in run.changes:
        yield change.state.reached, invariant(change.state, run.roles)
        yield change.state.reached, table_invariant(change.state, run.roles)
        if change.number in named:
            yield from _table_holds(run, change.state, change.time)
    for check in run.view(run.before, 0).table.checks:
        yield check.access.reached, check.is_quiet
    yield run.after.reached, invariant(run.after, run.roles)
    yield run.after.reached, table_invariant(run.after, run.roles)
    yield from _table_holds(run, run.after, len(run.accesses))


def _table_holds(run: Run, state: State, time: int) -> Iterator[tuple[Formula, Formula]]:
    view = run.view(state, time)
    is_ready = z3.And(state.reached, view.get("ready") != 0)
    for part in (*check_globals(view), *check_record(view, ANY_RECORD), *check_bin(view, ANY_BIN)):
        yield is_ready, part


def _is_zero_outside(run: Run) -> Iterator[tuple[Formula, Formula]]:
    (handle,), (length,) = run.arguments, run.results
    view = run.view(run.before, 0)
    outside = z3.UGE(handle - FIRST_HANDLE, run.before.globals[run.roles["span"]])
    yield z3.And(run.after.reached, view.get("ready") != 0, outside), length == 0


def _begins_a_life(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """Hold that no register is set, and that the row begins and ends with the next block's place."""
    view = run.view(run.after, len(run.accesses))
    link = view.get("table")
    clear = (view.get(name) == 0 for name in CLEARED)
    row = (link == RECORD, view.read(PLACE, link) == FIRST_HANDLE, view.read(PREV, link) == 0)
    bins = (word == 0 for word in view.table.bitmap(view.time))
    yield run.after.reached, z3.And(view.get("ready") != 0, *clear, *row, *bins)


INSIDE = Claim(
    name="accesses only blocks' headers, the table and the bins", clauses="C-1 M-3", obligations=_inside
)
HOLDS = Claim(name="keeps the invariants, also when cut", clauses="L-3 R-1", obligations=_holds)
ZERO = Claim(name="gives 0 outside what was handed out", clauses="A-6", obligations=_is_zero_outside)
RESETS = Claim(
    name="changes no other global than it clears", clauses="L-2", obligations=only_changes(*SET_BY_RESET)
)
BEGINS = Claim(name="begins a life", clauses="L-2", obligations=_begins_a_life)
LINKED: dict[str, tuple[Claim, ...]] = {
    "length": (INSIDE, NO_STORE, SAME, HOLDS, ZERO),
    "reset": (INSIDE, RESETS, HOLDS, BEGINS),
}
