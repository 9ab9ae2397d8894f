"""What is proved of the exports that take an address or a register.

Every claim is about all arguments, all contents of memory, and all states that the invariant allows. The
invariant is proved to hold again after each export, and after each single change of a global (L-3).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from build_tools.proof.layout import FIRST_HANDLE
from build_tools.proof.machine import ADDRESS_BITS
from build_tools.proof.states import ZERO_BYTES, invariant, memory_end, table_invariant, wide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from build_tools.proof.machine import Formula
    from build_tools.proof.runs import Run


MOST_STEPS = 2_000_000_000
"""How much a solver may do for one claim, in its own steps: a slow machine proves the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One claim about one export. `counterexample` names the values that break it; `None` if it is proved."""

    export: str
    claim: str
    clauses: str
    obligations: int
    seconds: float
    counterexample: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise as obligations: each is a condition and what must hold under it."""

    name: str
    clauses: str
    obligations: Callable[[Run], Iterator[tuple[Formula, Formula]]]


def _no_trap(run: Run) -> Iterator[tuple[Formula, Formula]]:
    for access in run.accesses:
        if access.kind == "unreachable":
            yield access.reached, z3.BoolVal(False)  # noqa: FBT003 - z3's own signature
        else:
            end = access.start + access.size
            yield access.reached, z3.And(z3.UGE(end, access.start), z3.ULE(end, memory_end(run.before)))


def _no_store(run: Run) -> Iterator[tuple[Formula, Formula]]:
    for access in run.accesses:
        if access.kind != "load":
            yield access.reached, z3.BoolVal(False)  # noqa: FBT003 - z3's own signature


def _outside_unchanged(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """Any byte outside what was handed out is afterwards as it was."""
    place = z3.BitVec("place", ADDRESS_BITS)
    distance = place - FIRST_HANDLE
    outside = z3.UGE(distance, wide(run.before.globals[run.roles["span"]]))
    same = z3.Select(run.after.memory, place) == z3.Select(run.before.memory, place)
    yield run.after.reached, z3.Implies(outside, same)


def _is_below_table(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """No byte of the table was handed out: what changes only bytes that were leaves it alone."""
    place = z3.BitVec("place", ADDRESS_BITS)
    head, table, span = (wide(run.before.globals[run.roles[name]]) for name in ("head", "table", "span"))
    known = table_invariant(run.before, run.roles)
    yield z3.And(known, z3.UGE(place, head - table)), z3.UGE(place - FIRST_HANDLE, span)


def only_changes(*names: str) -> Callable[[Run], Iterator[tuple[Formula, Formula]]]:
    """Return the obligations of a claim that only globals of these roles change, and no size."""

    def obligations(run: Run) -> Iterator[tuple[Formula, Formula]]:
        allowed = {run.roles[name] for name in names}
        for at, (before, after) in enumerate(zip(run.before.globals, run.after.globals, strict=True)):
            if at not in allowed:
                yield run.after.reached, before == after
        yield run.after.reached, run.before.pages == run.after.pages

    return obligations


def _invariant_holds(run: Run) -> Iterator[tuple[Formula, Formula]]:
    for state in (*(change.state for change in run.changes), run.after):
        yield state.reached, invariant(state, run.roles)
        before = table_invariant(run.before, run.roles)
        yield z3.And(state.reached, before), table_invariant(state, run.roles)


def _is_zero_outside(run: Run) -> Iterator[tuple[Formula, Formula]]:
    """Hold a load of a byte that was not handed out to 0."""
    (address, *_), (result,) = run.arguments, run.results
    outside = z3.UGE(address - FIRST_HANDLE, run.before.globals[run.roles["span"]])
    yield z3.And(run.after.reached, outside, _zeros_at_head(run)), result == 0


def _is_zero_outside_input(run: Run) -> Iterator[tuple[Formula, Formula]]:
    (offset, *_), (result,) = run.arguments, run.results
    outside = z3.UGE(offset, run.before.globals[run.roles["input_length"]])
    yield z3.And(run.after.reached, outside, _zeros_at_head(run)), result == 0


def _zeros_at_head(run: Run) -> Formula:
    head = wide(run.before.globals[run.roles["head"]])
    return z3.And(*(z3.Select(run.before.memory, head + at) == 0 for at in range(ZERO_BYTES)))


NO_TRAP = Claim(name="cannot trap", clauses="C-1 M-1", obligations=_no_trap)
NO_STORE = Claim(name="stores nothing", clauses="M-3", obligations=_no_store)
INSIDE = Claim(
    name="changes no byte outside what was handed out", clauses="M-1 M-2 M-3", obligations=_outside_unchanged
)
TABLE = Claim(name="leaves the table alone", clauses="M-3", obligations=_is_below_table)
SAME = Claim(name="changes no global", clauses="M-3", obligations=only_changes())
HOLDS = Claim(name="keeps the invariant, also when cut", clauses="L-3 R-1", obligations=_invariant_holds)
ZERO = Claim(name="gives 0 outside what was handed out", clauses="M-1", obligations=_is_zero_outside)
ZERO_INPUT = Claim(name="gives 0 outside the input", clauses="M-4", obligations=_is_zero_outside_input)
INPUT_ONLY = Claim(
    name="changes the input's register only",
    clauses="R-1",
    obligations=only_changes("input_offset", "input_length"),
)
READS = (NO_TRAP, NO_STORE, SAME, HOLDS)
WRITES = (NO_TRAP, INSIDE, TABLE, SAME, HOLDS)
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "load_u8": (*READS, ZERO),
    "load_u64": (*READS, ZERO),
    "store_u8": WRITES,
    "store_u64": WRITES,
    "input_load_u8": (*READS, ZERO_INPUT),
    "input_load_u64": (*READS, ZERO_INPUT),
    "input_set": (NO_TRAP, NO_STORE, INPUT_ONLY, HOLDS),
    "input_offset": READS,
    "input_length": READS,
    "output_offset": READS,
    "output_length": READS,
    "error_get": READS,
    "memory_bytes": READS,
}


def check_claims(run: Run, claims: Sequence[Claim]) -> Iterator[Verdict]:
    """Yield a verdict for each claim, with the values that break it where it does not hold."""
    for claim in claims:
        started = time.process_time()
        obligations = list(claim.obligations(run))
        # What is known of a table is much, so it is given once; claims about bytes are slow together.
        groups = [obligations] if run.table is not None else [[each] for each in obligations]
        broken = next(filter(None, (_refute(run, group) for group in groups)), None)
        yield Verdict(
            export=run.export,
            claim=claim.name,
            clauses=claim.clauses,
            obligations=len(obligations),
            seconds=time.process_time() - started,
            counterexample=broken,
        )


def _refute(run: Run, obligations: Sequence[tuple[Formula, Formula]]) -> str | None:
    """Return values under which an obligation is broken, or `None` if there are none."""
    solver = z3.Solver()
    solver.set("rlimit", MOST_STEPS)
    solver.add(*run.assumptions, z3.Or(*(z3.And(reached, z3.Not(holds)) for reached, holds in obligations)))
    answer = solver.check()
    if answer == z3.unsat:
        return None
    if answer == z3.unknown:
        return f"z3 gives up: {solver.reason_unknown()}"
    model = solver.model()
    named = {
        **{f"argument {at}": value for at, value in enumerate(run.arguments)},
        **{name: run.before.globals[number] for name, number in sorted(run.roles.items())},
        "pages": run.before.pages,
    }
    return ", ".join(
        f"{name} = {model.eval(value, model_completion=True).as_long():#x}" for name, value in named.items()
    )
