"""Long sequences of `alloc` and `free`: memory that fills, churn among live blocks, and what programs do.

A trace is data, made by Python and played by a small module (`play.py`): a million calls take seconds.
"""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Length = Callable[[random.Random], int]

SEED = 7
FREED = (1 << 32) - 1
"""In place of a length: the block in the slot is freed."""
KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
CHURN_PAIRS = 2_000
AHEAD = (
    "growth ahead of the need (A-3; `ample` in `growth.rs`) takes the rest; with a 64th of the owned pages "
    "for a 32nd it is {}, but an `alloc` of 64 KiB then costs 429 in the mean while memory fills (C-5)"
)
FEW = 1_000
"""The goal was set for so many live blocks and more."""
BULK = 16
"""So many bytes that are cleared or copied count as one instruction in C-5."""


@dataclass(slots=True)
class Operations:
    """Calls, each as a slot and a length; a slot keeps a handle from `alloc` to `free`.

    Those before `counted_from` only lead to a state. `peak` is the most bytes that live at a time.
    """

    data: array[int] = field(default_factory=lambda: array("I"))
    lengths: dict[int, int] = field(default_factory=dict)
    slots: int = 0
    live: int = 0
    peak: int = 0
    counted_from: int = 0

    def __len__(self) -> int:
        return len(self.data) // 2

    def alloc(self, slot: int, length: int) -> None:
        """Allocate a block into a slot that is empty."""
        self.data.extend((slot, length))
        self.lengths[slot] = length
        self.slots = max(self.slots, slot + 1)
        self.live += length
        self.peak = max(self.peak, self.live)

    def free(self, slot: int) -> None:
        """Free the block in a slot."""
        self.data.extend((slot, FREED))
        self.live -= self.lengths.pop(slot)

    def replace(self, slot: int, length: int) -> None:
        """Free the block in a slot, if there is one, and allocate another."""
        if slot in self.lengths:
            self.free(slot)
        self.alloc(slot, length)

    def count_frees(self, start: int, end: int) -> int:
        """Return how many operations of a range free a block."""
        return self.data[2 * start + 1 : 2 * end : 2].count(FREED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A sequence of calls, made when it is asked for.

    What is counted are units of `calls_per_unit` calls: one `alloc`, or a `free` and an `alloc`. `bulk` says
    how many bytes that are cleared or copied count as one instruction. `goal` is what the mean of a unit
    should be at most; of a trace in `MEMORY`, how many times the live bytes at their peak memory should be.
    `argument` says why the kernel misses a goal, where it does.
    """

    name: str
    operations: Callable[[], Operations]
    goal: float
    calls_per_unit: int = 1
    bulk: int = 1
    argument: str | None = None


def between(least: int, most: int) -> Length:
    """Return lengths that are equally likely."""
    return lambda rng: rng.randint(least, most)


def across(least: int, most: int) -> Length:
    """Return lengths of which every doubling is equally likely."""
    return lambda rng: round(least * (most / least) ** rng.random())


def fill(count: int, length: Length) -> Operations:
    """Return so many calls of `alloc`."""
    rng, operations = random.Random(SEED), Operations()  # noqa: S311 - the same in every run
    for slot in range(count):
        operations.alloc(slot, length(rng))
    return operations


def churn(live: int, length: Length, pairs: int, mixing: int = 0) -> Operations:
    """Return pairs of `free` and `alloc` among live blocks; those that mix come before and do not count."""
    rng, operations = random.Random(SEED + 1), fill(live, length)  # noqa: S311 - the same in every run
    for _ in range(mixing + pairs):
        operations.replace(rng.randrange(live), length(rng))
    operations.counted_from = live + 2 * mixing
    return operations


def _holes() -> Operations:
    """Eight large blocks are replaced one after the other, and small ones that come and go between them."""
    operations = Operations()
    for number in range(64):
        operations.replace(number % 8, MEBIBYTE)
        for small in range(16):
            operations.replace(8 + (16 * number + small) % 256, 16 + 48 * (small % 4))
    return operations


def _vectors() -> Operations:
    """Vectors that double: the new block is there before the old one is freed."""
    rng, operations = random.Random(SEED), Operations()  # noqa: S311 - the same in every run
    slots = list(range(64))
    for slot in slots:
        operations.alloc(slot, 64)
    spare = len(slots)
    for _ in range(20_000):
        number = rng.randrange(len(slots))
        slot = slots[number]
        length = operations.lengths[slot]
        operations.alloc(spare, 64 if length == 256 * KIBIBYTE else 2 * length)
        operations.free(slot)
        slots[number], spare = spare, slot
    return operations


def filling(name: str, goal: int, count: int, length: Length) -> Trace:
    """Return a trace that fills fresh memory with so many blocks."""
    return Trace(name=f"{name} x {count:,}", operations=lambda: fill(count, length), goal=goal, bulk=BULK)


def _churning(live: int) -> Trace:
    return Trace(
        name=f"{live:,} live",
        operations=lambda: churn(live, between(1, 256), CHURN_PAIRS, mixing=min(live, 40_000)),
        goal=500,
        calls_per_unit=2,
        argument="the goal was set for 1,000 live blocks and more; nothing is cleared here"
        if live < FEW
        else None,
    )


FILLS = (
    *(filling("64 B", 200, count, between(64, 64)) for count in (1_000, 10_000, 100_000, 1_000_000)),
    filling("1 to 1,000 B", 200, 10_000, between(1, 1000)),
    filling("2 to 8 KB", 350, 10_000, between(2000, 8000)),
    filling("4 KiB", 350, 16_384, between(4096, 4096)),
    filling("16 B to 128 KiB", 350, 50_000, across(16, 128 * KIBIBYTE)),
    filling("64 KiB", 350, 8_191, between(64 * KIBIBYTE, 64 * KIBIBYTE)),
)
"""The goal is C-5's."""
CHURN = tuple(_churning(live) for live in (10, 100, 1_000, 10_000, 100_000, 1_000_000))
MEMORY = (
    Trace(name="8 x 1 MiB replaced, small holes between", operations=_holes, goal=1.2),
    Trace(
        name="50,000 of 1 to 256 B, 300,000 replaced",
        operations=lambda: churn(50_000, between(1, 256), 300_000),
        goal=1.47,
    ),
    Trace(
        name="2,000 of 16 B to 128 KiB, 20,000 replaced",
        operations=lambda: churn(2_000, across(16, 128 * KIBIBYTE), 20_000),
        goal=1.28,
        argument=AHEAD.format("1.28"),
    ),
    Trace(name="vectors that double, 64 B to 256 KiB", operations=_vectors, goal=1.39),
    Trace(
        name="200 of 1 to 128 MiB, 8 live",
        operations=lambda: churn(8, across(MEBIBYTE, 128 * MEBIBYTE), 192),
        goal=1.27,
        argument=AHEAD.format("1.27"),
    ),
)
