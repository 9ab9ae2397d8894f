"""What is proved of the exports that take an address or a register, and of `reset`.

Every claim is about all arguments, all contents of memory, and all states that the invariant allows. The
invariant is proved to hold again after each export, and after each single change of a global (L-3).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from build_tools.base.errors import ModuleMalformedError
from build_tools.proof.contents import Bytes
from build_tools.proof.machine import ADDRESS_BITS, Machine, State
from build_tools.proof.numbers import WIDTHS
from build_tools.proof.roles import find_roles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from build_tools.proof.code import Program
    from build_tools.proof.machine import Access, Formula, Value

FIRST_HANDLE = 2048
"""Nothing is handed out below (L-6)."""
MEMORY_MAX = 1 << 32
MOST_PAGES, LEAST_PAGES = 65_536, 2
ZERO_BYTES = 8
"""Bytes at `head` that are always 0: what a load outside reads."""


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
class Run:
    """One export, executed from a state about which only the invariant is known."""

    export: str
    roles: dict[str, int]
    arguments: tuple[Value, ...]
    before: State
    after: State
    results: tuple[Value, ...]
    accesses: tuple[Access, ...]
    changes: tuple[State, ...]
    assumptions: tuple[Formula, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise as obligations: each is a condition and what must hold under it."""

    name: str
    clauses: str
    obligations: Callable[[Run], Iterator[tuple[Formula, Formula]]]


def wide(value: Value) -> Value:
    """Return a number with the bits of an address."""
    return z3.ZeroExt(ADDRESS_BITS - value.size(), value) if value.size() < ADDRESS_BITS else value


def memory_end(state: State) -> Value:
    """Return the size of memory in bytes."""
    return wide(state.pages) << 16


def invariant(state: State, roles: dict[str, int]) -> Formula:
    """Return what holds between any two instructions that change state.

    What was handed out ends eight bytes or more below `head`, which lies inside memory. `whole` is 0, or so
    much less than `span` that eight bytes fit behind any place below it. What a register describes lies
    below `head` too, so that a host that takes it without a check stays inside memory.
    """
    span, head = (wide(state.globals[roles[name]]) for name in ("span", "head"))
    whole = state.globals[roles["whole"]]
    end = FIRST_HANDLE + span
    return z3.And(
        z3.Or(whole == 0, z3.And(z3.ULE(whole, MEMORY_MAX), z3.ULE(whole + ZERO_BYTES - 1, span))),
        z3.UGE(state.pages, LEAST_PAGES),
        z3.ULE(state.pages, MOST_PAGES),
        z3.ULE(span, MEMORY_MAX),
        z3.ULE(end + ZERO_BYTES, head),
        z3.ULE(head + ZERO_BYTES, memory_end(state)),
        _register(state, roles, "input"),
        _register(state, roles, "output"),
    )


def _register(state: State, roles: dict[str, int], name: str) -> Formula:
    offset, length = (state.globals[roles[f"{name}_{part}"]] for part in ("offset", "length"))
    head = wide(state.globals[roles["head"]])
    inside = z3.And(z3.UGE(offset, FIRST_HANDLE), z3.ULE(offset, head), z3.ULE(length, head - offset))
    return z3.Or(length == 0, inside)


def execute(program: Program, export: str, *, machine: Machine | None = None) -> Run:
    """Execute an export symbolically from any state that the invariant allows."""
    roles = find_roles(program)
    machine = machine or Machine(program, Bytes())
    function = program.functions[program.exports[export]]
    arguments = tuple(z3.BitVec(f"argument{at}", WIDTHS[kind]) for at, kind in enumerate(function.params))
    state = State(
        reached=z3.BoolVal(True),  # noqa: FBT003 - z3's own signature
        globals=tuple(z3.BitVec(f"global{at}", WIDTHS[kind]) for at, kind in enumerate(program.globals)),
        locals=(),
        stack=(),
        pages=z3.BitVec("pages", 32),
        memory=machine.model.new(),
    )
    after, results = machine.call(function.index, arguments, state)
    if after is None:
        raise ModuleMalformedError(
            "it never returns", where=f"export `{export}`", hint="prove a kernel that `abi check` accepts"
        )
    return Run(
        export=export,
        roles=roles,
        arguments=arguments,
        before=state,
        after=after,
        results=results,
        accesses=tuple(machine.accesses),
        changes=tuple(machine.changes),
        assumptions=(invariant(state, roles), *machine.assumptions),
    )


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


def _only_changes(*names: str) -> Callable[[Run], Iterator[tuple[Formula, Formula]]]:
    def obligations(run: Run) -> Iterator[tuple[Formula, Formula]]:
        allowed = {run.roles[name] for name in names}
        for at, (before, after) in enumerate(zip(run.before.globals, run.after.globals, strict=True)):
            if at not in allowed:
                yield run.after.reached, before == after
        yield run.after.reached, run.before.pages == run.after.pages

    return obligations


def _invariant_holds(run: Run) -> Iterator[tuple[Formula, Formula]]:
    for state in (*run.changes, run.after):
        yield state.reached, invariant(state, run.roles)


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
SAME = Claim(name="changes no global", clauses="M-3", obligations=_only_changes())
HOLDS = Claim(name="keeps the invariant, also when cut", clauses="L-3 R-1", obligations=_invariant_holds)
ZERO = Claim(name="gives 0 outside what was handed out", clauses="M-1", obligations=_is_zero_outside)
ZERO_INPUT = Claim(name="gives 0 outside the input", clauses="M-4", obligations=_is_zero_outside_input)
INPUT_ONLY = Claim(
    name="changes the input's register only",
    clauses="R-1",
    obligations=_only_changes("input_offset", "input_length"),
)
READS = (NO_TRAP, NO_STORE, SAME, HOLDS)
WRITES = (NO_TRAP, INSIDE, SAME, HOLDS)
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
        count, broken = 0, None
        for reached, holds in claim.obligations(run):
            count += 1
            broken = _refute(run, reached, holds)
            if broken is not None:
                break
        yield Verdict(
            export=run.export,
            claim=claim.name,
            clauses=claim.clauses,
            obligations=count,
            seconds=time.process_time() - started,
            counterexample=broken,
        )


def _refute(run: Run, reached: Formula, holds: Formula) -> str | None:
    """Return values under which the obligation is broken, or `None` if there are none."""
    solver = z3.Solver()
    solver.set("timeout", 60_000)
    solver.add(*run.assumptions, reached, z3.Not(holds))
    answer = solver.check()
    if answer == z3.unsat:
        return None
    if answer == z3.unknown:
        return f"z3 gives up: {solver.reason_unknown()}"
    model = solver.model()
    named = {
        **{f"argument {at}": value for at, value in enumerate(run.arguments)},
        **{name: run.before.globals[number] for name, number in run.roles.items()},
        "pages": run.before.pages,
    }
    return ", ".join(
        f"{name} = {model.eval(value, model_completion=True).as_long():#x}" for name, value in named.items()
    )
