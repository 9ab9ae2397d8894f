"""Crowds of blocks that are freed in disorder, so that every `free` meets other neighbours.

They take minutes, so `bench --worst` counts them on the first kernel alone.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from build_tools.bench.scenarios import CONSTANT, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from build_tools.bench.metered import Instance

COUNTS = (20_000, 100_000)
MIXES: tuple[tuple[str, Callable[[random.Random], int]], ...] = (
    ("64 bytes", lambda _: 64),
    ("1 to 16 bytes", lambda rng: rng.randint(1, 16)),
    ("1 to 48 bytes", lambda rng: rng.randint(1, 48)),
    ("1 to 1,000 bytes", lambda rng: rng.randint(1, 1000)),
    ("1 to 5,000 bytes", lambda rng: rng.randint(1, 5000)),
    ("powers of two to 4,096 bytes", lambda rng: 1 << rng.randrange(13)),
)


def _crowd(count: int, length: Callable[[random.Random], int]) -> Callable[[Instance], Iterator[int]]:
    def run(instance: Instance) -> Iterator[int]:
        rng = random.Random(7)  # noqa: S311 - the same disorder in every run
        handles = [instance.call("alloc", length(rng)) for _ in range(count)]
        rng.shuffle(handles)
        for handle in handles:
            yield instance.count("free", handle)[1]

    return run


WORST = (
    *(
        Scenario(
            name=f"free, {count:,} blocks of {name}, in disorder",
            clause="C-1",
            limit=CONSTANT,
            run=_crowd(count, length),
        )
        for name, length in MIXES
        for count in COUNTS
    ),
)
