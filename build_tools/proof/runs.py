"""One export, executed from any state that the invariant allows, over bytes or over the table of records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from build_tools.base.errors import ModuleMalformedError
from build_tools.proof.contents import Bytes
from build_tools.proof.layout import RECORD
from build_tools.proof.machine import Machine, State
from build_tools.proof.numbers import WIDTHS, remainder
from build_tools.proof.roles import find_roles
from build_tools.proof.rows import View, check_bin, check_globals, check_record
from build_tools.proof.states import invariant, table_invariant
from build_tools.proof.table import Table, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.proof.code import Program
    from build_tools.proof.machine import Access, Change, Formula, MemoryModel, Value

ANY_RECORD, ANY_BIN = z3.BitVec("record", 32), z3.BitVec("bin", 32)
"""The record and the bin of which something is proved: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One export, executed from any state that the invariants allow; `table` is that of one over a table."""

    export: str
    roles: dict[str, int]
    arguments: tuple[Value, ...]
    before: State
    after: State
    results: tuple[Value, ...]
    accesses: tuple[Access, ...]
    changes: tuple[Change, ...]
    assumptions: tuple[Formula, ...]
    table: Table | None = None

    def view(self, state: State, time: int) -> View:
        """Return the table at a time. Raises `TypeError` for a run over bytes."""
        if self.table is None:
            raise TypeError(f"`{self.export}` ran over bytes, so its table is not known")
        return View(self.table, state, time)


def execute(program: Program, export: str) -> Run:
    """Execute an export over bytes of memory, about which nothing is known.

    Raises `ModuleMalformedError` for a module with other globals than a kernel's, or an export that never
    returns.
    """
    roles = find_roles(program)
    return _execute(program, export, roles, Bytes())


def execute_linked(program: Program, export: str) -> Run:
    """Execute an export over the table, of which is known what `rows` says. Raises as `execute`."""
    roles = find_roles(program)
    return _execute(program, export, roles, Table(roles))


def _execute(program: Program, export: str, roles: dict[str, int], model: MemoryModel) -> Run:
    machine = Machine(program, model)
    function = program.functions[program.exports[export]]
    arguments = tuple(z3.BitVec(f"argument{at}", WIDTHS[kind]) for at, kind in enumerate(function.params))
    state = State(
        reached=z3.BoolVal(True),  # noqa: FBT003 - z3's own signature
        globals=tuple(z3.BitVec(f"global{at}", WIDTHS[kind]) for at, kind in enumerate(program.globals)),
        locals=(),
        stack=(),
        pages=z3.BitVec("pages", 32),
        memory=model.new(),
    )
    table = model if isinstance(model, Table) else None
    if table is not None:
        table.begin(state)
    after, results = machine.call(function.index, arguments, state)
    if after is None:
        raise ModuleMalformedError(
            "it never returns", where=f"export `{export}`", hint="prove a kernel that `abi check` accepts"
        )
    known = () if table is None else _assume_table(table, state)
    return Run(
        export=export,
        roles=roles,
        arguments=arguments,
        before=state,
        after=after,
        results=results,
        accesses=tuple(machine.accesses),
        changes=tuple(machine.changes),
        assumptions=(invariant(state, roles), *known, *machine.assumptions),
        table=table,
    )


def _assume_table(table: Table, state: State) -> Iterator[Formula]:
    """Yield what is known of the table before a call: nothing while `ready` is 0.

    A part about any record is assumed of those that the call names, and of the one of which it is proved.
    """
    yield table_invariant(state, table.roles)
    view = View(table, state, 0)
    is_ready = view.get("ready") != 0
    records, bins = (*table.links.values(), ANY_RECORD), (*table.links.values(), ANY_BIN)
    for part in (
        *check_globals(view),
        *(part for link in records for part in check_record(view, link)),
        *(part for link in bins for part in check_bin(view, link)),
    ):
        yield z3.Implies(is_ready, part)
    for link in records:
        for other in (number(0), number(RECORD), view.get("table")):
            yield from _are_apart(link, other)


def _are_apart(one: Value, two: Value) -> Iterator[Formula]:
    """Yield what holds of all numbers: two multiples of a record's bytes are equal, or a record apart."""
    zero = number(0)
    divisor = number(RECORD)
    yield z3.And(remainder(zero, divisor) == 0, remainder(divisor, divisor) == 0)
    both = z3.And(remainder(one, divisor) == 0, remainder(two, divisor) == 0)
    yield z3.Implies(z3.And(both, z3.ULT(one, two)), z3.ULE(one, two - RECORD))
    yield z3.Implies(z3.And(both, z3.ULT(two, one)), z3.ULE(two, one - RECORD))
