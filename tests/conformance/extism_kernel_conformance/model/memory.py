"""What the model knows of memory: what lies where, and which bytes this life has used."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GRAIN = 16
"""Bytes that are judged used or unused together: as many as a kernel may keep before a block (A-6)."""


@dataclass(slots=True)
class Blocks:
    """The live blocks of one life, with their bytes."""

    size: int
    """Bytes of memory at most."""
    lengths: dict[int, int] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    doubtful: set[int] = field(default_factory=set)
    """Blocks before which a store wrote: their handles may be dead (A-6)."""
    content: bytearray = field(init=False)
    used: bytearray = field(init=False)
    top: int = 0
    """The end of what was handed out."""

    def __post_init__(self) -> None:
        self.content = bytearray(self.size)
        self.used = bytearray(self.size // GRAIN)

    def add(self, handle: int, data: bytes) -> None:
        """Note a block and what it showed at first."""
        end = handle + len(data)
        self.lengths[handle] = len(data)
        self.order.insert(bisect_left(self.order, handle), handle)
        self.doubtful.discard(handle)
        self.content[handle:end] = data
        self.top = max(self.top, end)
        self.use(handle - GRAIN, end)

    def remove(self, handle: int) -> None:
        """Note that a block ended."""
        del self.lengths[handle]
        del self.order[bisect_left(self.order, handle)]

    def meeting(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of live blocks between two addresses."""
        at = max(0, bisect_right(self.order, start) - 1)
        for handle in self.order[at:]:
            if handle >= end:
                return
            low, high = max(start, handle), min(end, handle + self.lengths[handle])
            if low < high:
                yield low, high

    def use(self, start: int, end: int) -> None:
        """Note that bytes may show something from now on."""
        first, last = start // GRAIN, -(-end // GRAIN)
        self.used[first:last] = b"\1" * (last - first)

    def find_dirt(self, start: int, data: bytes) -> int | None:
        """Return where bytes that this life has not used show something, None if they do not (A-2)."""
        first = -(-start // GRAIN)
        unused = self.used.find(0, first, (start + len(data)) // GRAIN)
        while unused >= 0:
            used = self.used.find(1, unused, (start + len(data)) // GRAIN)
            end = (start + len(data)) // GRAIN if used < 0 else used
            piece = data[unused * GRAIN - start : end * GRAIN - start]
            if piece.count(0) != len(piece):
                return unused * GRAIN + len(piece) - len(piece.lstrip(b"\0"))
            unused = self.used.find(0, end, (start + len(data)) // GRAIN)
        return None

    def store(self, address: int, data: bytes) -> None:
        """Note bytes that were stored; those past the end of what was handed out are not."""
        end = min(address + len(data), self.top)
        self.content[address:end] = data[: end - address]
        at = bisect_right(self.order, address)
        if at < len(self.order) and end > self.order[at] - GRAIN:
            self.doubtful.add(self.order[at])
        self.use(address, end)
