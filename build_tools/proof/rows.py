"""What holds of the table whenever `ready` is not 0: of every record, of every bin, and of their globals.

Each part is about one record or bin and those that it names, so that it can be assumed where a call reads and
must be proved for any one afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import z3

from build_tools.proof.layout import (
    BIN_COUNT,
    FIELDS,
    FIRST_HANDLE,
    HEADER,
    LEAST_SIZE,
    MARK,
    NEXT,
    OLDER,
    PLACE,
    PREV,
    RECORD,
    YOUNGER,
)
from build_tools.proof.numbers import remainder
from build_tools.proof.states import wide
from build_tools.proof.table import bin_number, is_bin, is_record, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.proof.machine import Formula, State, Value
from build_tools.proof.table import Table

BITS = 64
CLASS = z3.Function("class_of_size", z3.BitVecSort(32), z3.BitVecSort(32))
"""The bin of a size."""


@dataclass(frozen=True, slots=True)
class View:
    """The table at one time."""

    table: Table
    state: State
    time: int

    def get(self, name: str) -> Value:
        """Return a global of 32 bits."""
        return self.table.global_(self.state, name)

    def read(self, key: int | str, link: Value) -> Value:
        """Return a field or a ghost."""
        return self.table.read(key, link, self.time)

    def place(self, link: Value) -> Value:
        """Return a record's place without its mark."""
        return self.read(PLACE, link) & ~number(MARK)

    def is_free(self, link: Value) -> Formula:
        """Say whether a record is a free range's."""
        return self.read(PLACE, link) & MARK != 0

    def is_other(self, link: Value) -> Formula:
        """Say whether a link leads to a record that is neither the anchor nor the last."""
        table = self.get("table")
        return z3.And(is_record(link, table), link != 0, link != table)

    def has_bit(self, link: Value) -> Formula:
        """Say whether the bit of a bin is set."""
        bit = z3.ZeroExt(BITS - 32, bin_number(link))
        one, two = self.table.bitmap(self.time)
        word = z3.If(z3.ULT(bit, BITS), one, two)
        return z3.Extract(0, 0, z3.LShR(word, bit & (BITS - 1))) == 1


def check_globals(view: View) -> Iterator[Formula]:
    """Yield what holds of the table as a whole."""
    table, spare, head = view.get("table"), view.get("spare"), view.get("head")
    ready, hole_end = view.get("ready"), view.get("hole_end")
    place, last = view.place(table), head - table
    yield view.table.anchor(view.time) == head
    # The table has whole records; the anchor is all zeros.
    yield z3.And(remainder(table, number(RECORD)) == 0, z3.UGE(table, RECORD))
    yield z3.And(*(view.read(key, number(0)) == 0 for key in FIELDS))
    # The next place lies above what was handed out, and below the table, as others' pages do.
    yield z3.And(view.read(PLACE, table) == place, z3.ULE(place, last), z3.ULE(hole_end, last))
    yield z3.ULE(view.get("span") + FIRST_HANDLE, wide(place))
    # What is ready has room for the records of its blocks, which have 32 bytes at least.
    most = z3.If(z3.UGT(ready, hole_end), ready, hole_end)
    records = (z3.LShR(ready - place, 5) + 1) * RECORD
    yield z3.Or(z3.ULE(ready, place), z3.ULE(wide(most) + wide(records), wide(last)))
    # No bit is set beyond the last bin; the spare records begin with one.
    yield z3.LShR(view.table.bitmap(view.time)[1], BIN_COUNT - BITS) == 0
    yield z3.Or(spare == 0, z3.And(view.is_other(spare), view.read(PLACE, spare) == 0))


def check_record(view: View, link: Value) -> Iterator[Formula]:
    """Yield what holds of a record of the table: of the last one, of a range, or of a spare one."""
    table = view.get("table")
    place, before, after = view.place(link), view.read(PREV, link), view.read(NEXT, link)
    is_spare = z3.And(view.is_other(link), view.read(PLACE, link) == 0)
    is_range = z3.And(view.is_other(link), view.read(PLACE, link) != 0)
    in_row = z3.Or(is_range, link == table)
    size = view.place(after) - place

    # Places are handles, and rise along the row, which reads the same backwards.
    yield z3.Implies(in_row, z3.And(z3.UGE(place, FIRST_HANDLE), place & (HEADER - 1) == 0))
    yield z3.Implies(is_range, z3.ULE(place, view.place(table) - LEAST_SIZE))
    follows = z3.And(
        view.is_other(before),
        view.read(PLACE, before) != 0,
        view.read(NEXT, before) == link,
        z3.ULE(view.place(before), place - LEAST_SIZE),
    )
    yield z3.Implies(in_row, z3.If(before == 0, place == FIRST_HANDLE, follows))
    precedes = z3.And(
        is_record(after, table),
        after != 0,
        view.read(PLACE, after) != 0,
        view.read(PREV, after) == link,
        z3.UGE(view.place(after), FIRST_HANDLE),
        z3.ULE(place, view.place(after) - LEAST_SIZE),
    )
    yield z3.Implies(is_range, precedes)
    # A block has room for its bytes before the next header; a free range is in the ring of its size.
    is_free = view.is_free(link)
    yield z3.Implies(z3.And(is_range, z3.Not(is_free)), z3.ULE(view.read(OLDER, link), size - HEADER))
    yield z3.Implies(z3.And(is_range, is_free), view.read("class", link) == CLASS(size))
    yield z3.Implies(z3.And(is_range, is_free), _in_ring(view, link))
    yield z3.Implies(is_spare, _in_stack(view, link, after))


def _in_ring(view: View, link: Value) -> Formula:
    """Both neighbours in the ring are the bin of the class, or free ranges of it; the older one is older."""
    number_, age = view.read("class", link), view.read("age", link)
    parts = [z3.ULT(number_, BIN_COUNT)]
    for key, back in ((OLDER, YOUNGER), (YOUNGER, OLDER)):
        other = view.read(key, link)
        theirs = view.read("age", other)
        is_range = z3.And(
            view.is_other(other),
            view.is_free(other),
            view.read("class", other) == number_,
            z3.ULT(theirs, age) if key == OLDER else z3.ULT(age, theirs),
        )
        parts += [
            z3.If(is_bin(other), z3.And(bin_number(other) == number_, view.has_bit(other)), is_range),
            view.read(back, other) == link,
        ]
    return z3.And(*parts)


def _in_stack(view: View, link: Value, after: Value) -> Formula:
    height = view.read("rank", link)
    below = z3.And(view.is_other(after), view.read(PLACE, after) == 0, view.read("rank", after) == height - 1)
    return z3.And(
        z3.UGE(height, 1),
        z3.ULE(height, view.table.height(view.state, view.time)),
        view.read("nth", height) == link,
        z3.If(after == 0, height == 1, below),
    )


def check_bin(view: View, link: Value) -> Iterator[Formula]:
    """Yield what holds of a bin with a bit: its ends are free ranges of its class, linked to it."""
    for key, back in ((OLDER, YOUNGER), (YOUNGER, OLDER)):
        other = view.read(key, link)
        is_end = z3.And(
            view.is_other(other),
            view.is_free(other),
            view.read("class", other) == bin_number(link),
            view.read(back, other) == link,
        )
        yield z3.Implies(z3.And(is_bin(link), view.has_bit(link)), is_end)
