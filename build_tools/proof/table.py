"""Memory as the kernel's table: records and bins by their links, wherever the table lies.

A load gives what was stored under the same link, or what the table held before the call. Every access must be
one of these: a word of a record or of a bin under a valid link, the bytes that `reset` clears from the anchor
on, or a load of bytes of the blocks below the table, about which nothing is known. Two valid links are a
record apart, so words of different links or fields never overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import z3

from build_tools.proof.layout import (
    BASE,
    BIN_BYTES,
    BIN_COUNT,
    CLEARED,
    FIELDS,
    FIRST_BIN,
    OLDER,
    PLACE,
    RECORD,
    YOUNGER,
)
from build_tools.proof.machine import ADDRESS_BITS
from build_tools.proof.numbers import remainder

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.proof.machine import Access, Contents, Formula, Machine, State, Value

LINK = z3.BitVecSort(32)
WORD, LONG = 4, 8


def number(value: int) -> Value:
    """Return a constant of 32 bits."""
    return z3.BitVecVal(value, 32)


def is_record(link: Value, table: Value) -> Formula:
    """Say whether a link leads to the anchor or to a record of the table."""
    return z3.And(remainder(link, number(RECORD)) == 0, z3.ULE(link, table))


def is_bin(link: Value) -> Formula:
    """Say whether a link is a bin's."""
    distance = number(FIRST_BIN) - link
    return z3.And(z3.ULT(distance, BIN_BYTES * BIN_COUNT), z3.Extract(2, 0, distance) == 0)


def bin_number(link: Value) -> Value:
    """Return which bin has a link."""
    return z3.LShR(number(FIRST_BIN) - link, 3)


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one field: `apply` gives the value under a link from the value before."""

    time: int
    apply: Callable[[Value, Value], Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What must hold of one access to memory, and whether it leaves what the table says as it was."""

    access: Access
    pages: Value
    holds: Formula
    is_quiet: Formula


GHOSTS = ("age", "class", "rank", "nth")
"""What no word holds, but a proof needs: a free range's age in its ring and its bin; a spare record's height
in the stack of spare records, and the record at a height."""


@dataclass(slots=True)
class Table:
    """The table's contents from before a call on: for each field its writes, in the order of the code.

    `anchors` and `bitmaps` have each value with the time from which it holds. Times count accesses to memory.
    """

    roles: dict[str, int]
    writes: dict[int | str, list[Write]] = field(
        default_factory=lambda: {key: [] for key in (*FIELDS, *GHOSTS)}
    )
    anchors: list[tuple[int, Value]] = field(default_factory=list)
    bitmaps: list[tuple[int, tuple[Value, Value]]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    links: dict[int, Value] = field(default_factory=dict)

    def new(self) -> Contents:
        """Return nothing: the contents are kept here."""
        self.bitmaps = [(-1, (z3.BitVec("bitmap0", 64), z3.BitVec("bitmap1", 64)))]
        return z3.BoolVal(True)  # noqa: FBT003 - z3's own signature

    def begin(self, state: State) -> None:
        """Say where the table lies before the call."""
        self.anchors = [(-1, state.globals[self.roles["head"]])]

    def global_(self, state: State, name: str) -> Value:
        """Return a global of a state."""
        return state.globals[self.roles[name]]

    def anchor(self, time: int) -> Value:
        """Return where the anchor lies at a time."""
        return next(value for since, value in reversed(self.anchors) if since < time)

    def bitmap(self, time: int) -> tuple[Value, Value]:
        """Return the words of the bitmap at a time."""
        one, two = next(value for since, value in reversed(self.bitmaps) if since < time)
        return one, two

    def read(self, key: int | str, link: Value, time: int) -> Value:
        """Return a word of a record or a bin, or a ghost of it, at a time."""
        bits = 64 if key == "age" else 32
        found = z3.Function(f"field_{key}", LINK, z3.BitVecSort(bits))(link)
        for write in self.writes[key]:
            if write.time < time:
                found = write.apply(link, found)
        return found

    def load(self, machine: Machine, state: State, access: Access, count: int) -> Value:
        """Return what a field held last, or a value about which nothing is known."""
        time = len(machine.accesses) - 1
        if count == LONG:
            self._refuse(access, state)
            return machine.fresh("block", 8 * count)
        key, link = self._find(state, access, time)
        if key is None:
            low = self.anchor(time) - self.global_(state, "table")
            self._note(access, state, self._is_block(access, low), z3.BoolVal(True))  # noqa: FBT003
            return machine.fresh("block", 8 * count)
        self._use(link)
        self._note(access, state, self._is_valid(state, key, link, 0), z3.BoolVal(True))  # noqa: FBT003
        return (
            z3.Extract(8 * count - 1, 0, self.read(key, link, time))
            if count < WORD
            else self.read(key, link, time)
        )

    def store(self, machine: Machine, state: State, access: Access, count: int) -> Contents:
        """Note what was written, and of which kind the access was."""
        time = len(machine.accesses) - 1
        table = self.global_(state, "table")
        is_closed = self.global_(state, "ready") == 0
        key, link = (None, table) if count == LONG else self._find(state, access, time)
        if key is None:
            self._refuse(access, state)
            return state.memory
        self._use(link)
        unread = z3.And(link == table, key in {PLACE + 4, OLDER})
        self._note(
            access,
            state,
            z3.And(self._is_valid(state, key, link, RECORD), count == WORD),
            z3.Or(is_closed, link == table + RECORD, unread),
        )
        self._write(key, time, access.reached, link, access.value)
        return state.memory

    def fill(self, machine: Machine, state: State, access: Access) -> Contents:
        """Clear the anchor and the bitmap."""
        time = len(machine.accesses) - 1
        anchor, is_closed = self.anchor(time), self.global_(state, "ready") == 0
        if not _is_zero(_address(access) - anchor):
            self._refuse(access, state)
            return state.memory
        self._note(access, state, z3.And(access.size == CLEARED, access.value == 0), is_closed)
        for key in FIELDS:
            self._write(key, time, access.reached, number(0), number(0))
        zero = z3.BitVecVal(0, 64)
        self._set_bitmap(time, access.reached, (zero, zero))
        return state.memory

    def copy(self, machine: Machine, state: State, access: Access, source: Value) -> Contents:  # noqa: ARG002
        """Refuse to move the table, which no export does of which something is proved."""
        self._refuse(access, state)
        return state.memory

    def _refuse(self, access: Access, state: State) -> None:
        """Note an access of a kind that is not known: no claim holds where it is reached."""
        never = z3.BoolVal(False)  # noqa: FBT003 - z3's own signature
        self._note(access, state, never, never)

    def _find(self, state: State, access: Access, time: int) -> tuple[int | None, Value]:
        """Return the field and the link of an access of a word; no field for bytes of blocks."""
        address = _address(access)
        distance = z3.simplify(self.anchor(time) - address)
        if access.offset:
            return access.offset, z3.simplify(distance + access.offset)
        if not _is_relative(address, state.globals[self.roles["head"]]):
            return None, distance
        beyond = _constant(distance)
        if beyond < 1 << 31:
            return PLACE, distance
        key = YOUNGER if (-beyond - CLEARED) % BIN_BYTES else OLDER
        return key, z3.simplify(distance + key)

    def _is_valid(self, state: State, key: int, link: Value, beyond: int) -> Formula:
        """Say whether there is such a field: of a bin or a record, or of one `beyond` bytes below all."""
        if key not in FIELDS:
            return z3.BoolVal(False)  # noqa: FBT003
        table = self.global_(state, "table")
        valid = z3.Or(is_record(link, table), link == table + beyond)
        return z3.Or(valid, is_bin(link)) if key in {OLDER, YOUNGER} else valid

    def _is_block(self, access: Access, low: Value) -> Formula:
        """Say whether an access lies in the bytes of blocks, below an address."""
        return z3.And(z3.UGE(access.start, BASE), z3.ULE(access.start + access.size, _wide(low)))

    def _set_bitmap(self, time: int, reached: Formula, words: tuple[Value, Value]) -> None:
        one, two = (z3.If(reached, new, old) for new, old in zip(words, self.bitmap(time), strict=True))
        self.bitmaps.append((time, (one, two)))

    def _note(self, access: Access, state: State, holds: Formula, is_quiet: Formula) -> None:
        self.checks.append(Check(access=access, pages=state.pages, holds=holds, is_quiet=is_quiet))

    def _use(self, link: Value) -> None:
        self.links.setdefault(link.get_id(), link)

    def _write(self, key: int | str, time: int, when: Formula, link: Value, value: Value) -> None:
        def apply(other: Value, old: Value) -> Value:
            same = z3.simplify(link == other)
            if z3.is_false(same):
                return old
            return z3.If(z3.And(when, same), value, old)

        self.writes[key].append(Write(time, apply))

    def height(self, state: State, time: int) -> Value:
        """Return how many spare records there are."""
        spare = self.global_(state, "spare")
        return z3.If(spare == 0, number(0), self.read("rank", spare, time))


def _address(access: Access) -> Value:
    return z3.simplify(z3.Extract(31, 0, access.start))


def _wide(value: Value) -> Value:
    return z3.ZeroExt(ADDRESS_BITS - value.size(), value)


def _is_zero(value: Value) -> bool:
    simple = z3.simplify(value)
    return bool(z3.is_bv_value(simple) and simple.as_long() == 0)


def _is_relative(address: Value, head: Value) -> bool:
    """Say whether an address is reckoned from the anchor. A wrong answer makes a check fail that follows."""
    todo = [address]
    while todo:
        each = todo.pop()
        if each.eq(head) or (each.eq(z3.simplify(head))):
            return True
        if z3.is_app_of(each, z3.Z3_OP_BADD) or z3.is_app_of(each, z3.Z3_OP_BMUL):
            todo += each.children()
        elif z3.is_app_of(each, z3.Z3_OP_ITE):
            todo += each.children()[1:]
    return False


def _constant(value: Value) -> int:
    """Return the constant part of a sum, or 0."""
    parts = value.children() if z3.is_app_of(value, z3.Z3_OP_BADD) else [value]
    return next((part.as_long() for part in parts if z3.is_bv_value(part)), 0)
