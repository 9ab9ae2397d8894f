"""Which bytes a block gets (A-5), for kernels that lay blocks out as CONTRACT.md draws it.

Places are handles. A range reaches from its place to the next one's, so it has its own header's size less
behind it and the next one's more: sizes are what lies between two places.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

HEADER = 16
RECORD = 20
SMALL = 1024
"""A longer block is reused at once (A-5)."""
KEPT = 65 * RECORD
"""Bytes kept unused, for records of ranges that are split when all else is used."""
TAIL = 1024
"""What lies behind the table, rounded up."""
LEAST = 2 * HEADER
"""A smaller rest stays with its block."""

LIVE, FREE, GAP = "live", "free", "gap"


def size_of(length: int) -> int:
    """Return what a block takes of a range: its bytes and its header, in steps of 16."""
    return (length + HEADER + 15) & ~15


def class_of(size: int) -> int:
    """Return the class of a range: four for each doubling."""
    bits = size.bit_length()
    return bits * 4 + (size >> (bits - 3) & 3)


@dataclass(slots=True)
class Range:
    """Bytes of one block, or free ones."""

    size: int
    state: str
    is_small: bool = False


@dataclass(slots=True)
class Ranges:
    """All that was handed out in one life, in address order, and the free ranges, first freed first."""

    last: int
    """Where the next block begins if it takes unused bytes."""
    places: list[int] = field(default_factory=list)
    ranges: dict[int, Range] = field(default_factory=dict)
    classes: dict[int, list[int]] = field(default_factory=dict)
    records: int = 1
    spare: int = 0

    def find(self, length: int, output: tuple[int, int]) -> int | None:
        """Return the free range that a block of so many bytes gets, or none."""
        size = size_of(length)
        own = class_of(size)
        chosen = self.classes.get(own)
        if not chosen or self.ranges[chosen[0]].size < size:
            higher = [number for number, members in self.classes.items() if number > own and members]
            if not higher:
                return None
            chosen = self.classes[min(higher)]
        for place in chosen[:2]:
            if self.ranges[place].size < size:
                return None
            if not _meet(place - HEADER, size, output):
                return place
        return None

    def is_small(self, place: int) -> bool:
        """Return whether a free range holds a small block."""
        return self.ranges[place].is_small

    def take_unused(self, place: int, length: int) -> None:
        """Make a block of bytes not used before. What is passed over before it is given up."""
        if place > self.last:
            self._add(self.last, Range(place - self.last, GAP))
        self._add(place, Range(size_of(length), LIVE))
        self.last = place + size_of(length)

    def reuse(self, place: int, length: int, *, has_record: bool) -> None:
        """Make a block at the beginning of a free range; `has_record` if the rest can become a range."""
        found = self.ranges[place]
        self._leave_class(place)
        found.state = LIVE
        size = size_of(length)
        rest = found.size - size
        if rest < LEAST or not (self.spare or has_record):
            return
        if self.spare:
            self.spare -= 1
            self.records -= 1  # `_add` counts it again
        found.size = size
        self._add(place + size, Range(rest, FREE, found.is_small))
        self._join_class(place + size)

    def free(self, place: int, length: int) -> None:
        """End a block, and join it with its free neighbours."""
        at = bisect_left(self.places, place)
        found = self.ranges[place]
        found.is_small = length <= SMALL
        if at + 1 < len(self.places):
            self._absorb(place, self.places[at + 1])
        if at and self.ranges[self.places[at - 1]].state == FREE:
            before = self.places[at - 1]
            self._leave_class(before)
            found.state = FREE
            self._merge(before, place)
            place = before
        self.ranges[place].state = FREE
        self._join_class(place)

    def _absorb(self, place: int, other: int) -> None:
        if self.ranges[other].state == FREE:
            self._leave_class(other)
            self._merge(place, other)

    def _merge(self, place: int, other: int) -> None:
        gone = self.ranges.pop(other)
        self.places.remove(other)
        self.ranges[place].size += gone.size
        self.ranges[place].is_small |= gone.is_small
        self.spare += 1

    def _add(self, place: int, added: Range) -> None:
        insort(self.places, place)
        self.ranges[place] = added
        self.records += 1

    def _join_class(self, place: int) -> None:
        self.classes.setdefault(class_of(self.ranges[place].size), []).append(place)

    def _leave_class(self, place: int) -> None:
        self.classes[class_of(self.ranges[place].size)].remove(place)


def _meet(start: int, size: int, output: tuple[int, int]) -> bool:
    at, length = output
    return at != 0 and (start <= at < start + size or at <= start < at + length)
