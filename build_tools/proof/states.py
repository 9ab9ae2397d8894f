"""What holds of the globals at any moment, also when a call was cut: every proof starts from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import z3

from build_tools.proof.layout import BASE, FIRST_HANDLE, TAIL
from build_tools.proof.machine import ADDRESS_BITS, PAGE_BITS

if TYPE_CHECKING:
    from build_tools.proof.machine import Formula, State, Value

MEMORY_MAX = 1 << 32
MOST_PAGES, LEAST_PAGES = 65_536, 2
ZERO_BYTES = 8
"""Bytes at `head` that are always 0: what a load outside reads."""


def wide(value: Value) -> Value:
    """Return a number with the bits of an address."""
    return z3.ZeroExt(ADDRESS_BITS - value.size(), value) if value.size() < ADDRESS_BITS else value


def memory_end(state: State) -> Value:
    """Return the size of memory in bytes."""
    return wide(state.pages) << PAGE_BITS


def invariant(state: State, roles: dict[str, int]) -> Formula:
    """Return what loads and stores rely on: it holds between any two instructions that change state.

    What was handed out ends eight bytes or more below `head`, which lies inside memory. `whole` is 0, or so
    much less than `span` that eight bytes fit behind any place below it. What a register describes lies
    below `head` too, so that a host that takes it without a check stays inside memory.
    """
    span, head = (wide(state.globals[roles[name]]) for name in ("span", "head"))
    whole = state.globals[roles["whole"]]
    return z3.And(
        z3.Or(whole == 0, z3.And(z3.ULE(whole, MEMORY_MAX), z3.ULE(whole + ZERO_BYTES - 1, span))),
        z3.UGE(state.pages, LEAST_PAGES),
        z3.ULE(state.pages, MOST_PAGES),
        z3.ULE(span, MEMORY_MAX),
        z3.ULE(FIRST_HANDLE + span + ZERO_BYTES, head),
        z3.ULE(head + ZERO_BYTES, memory_end(state)),
        _register(state, roles, "input"),
        _register(state, roles, "output"),
    )


def table_invariant(state: State, roles: dict[str, int]) -> Formula:
    """Return what else holds there, of the globals that say where the table and others' pages lie.

    What was handed out ends below the table. The kernel owns whole pages, inside memory, which the anchor's
    and the bins' bytes end. Pages of others are whole and lie below the anchor.
    """
    head, table, span, hole_start, hole_end, hole_next = (
        wide(state.globals[roles[name]])
        for name in ("head", "table", "span", "hole_start", "hole_end", "hole_next")
    )
    return z3.And(
        z3.ULE(FIRST_HANDLE + span + table, head),
        z3.ULE(BASE + table, head),
        z3.ULE(head + TAIL, memory_end(state)),
        *(_is_whole(end) for end in (head + TAIL, hole_end, hole_next)),
        z3.ULE(hole_end, head),
        z3.ULE(hole_start, hole_end),
        z3.ULE(hole_end, hole_next),
    )


def _is_whole(end: Value) -> Formula:
    return z3.Extract(PAGE_BITS - 1, 0, end) == 0


def _register(state: State, roles: dict[str, int], name: str) -> Formula:
    offset, length = (state.globals[roles[f"{name}_{part}"]] for part in ("offset", "length"))
    head = wide(state.globals[roles["head"]])
    inside = z3.And(z3.UGE(offset, FIRST_HANDLE), z3.ULE(offset, head), z3.ULE(length, head - offset))
    return z3.Or(length == 0, inside)
