"""States that make `free` expensive: crowds of blocks freed in disorder, and a trie built to be deep.

They take minutes, and one is made for this kernel's trie, so `bench --worst` counts them on the first kernel
alone. In all of them every header is overwritten first, so that handles are looked up in the index.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from build_tools.bench.scenarios import CONSTANT, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from build_tools.bench.scenarios import Instance

U64 = (1 << 64) - 1
COUNTS = (20_000, 100_000)
MIXES: tuple[tuple[str, Callable[[random.Random], int]], ...] = (
    ("64 bytes", lambda _: 64),
    ("1 to 16 bytes", lambda rng: rng.randint(1, 16)),
    ("1 to 48 bytes", lambda rng: rng.randint(1, 48)),
    ("1 to 1,000 bytes", lambda rng: rng.randint(1, 1000)),
    ("1 to 5,000 bytes", lambda rng: rng.randint(1, 5000)),
    ("powers of two to 4,096 bytes", lambda rng: 1 << rng.randrange(13)),
)
HEADER = 16
FIRST_PLACE = 2032
HASH = 0x9_E377
"""What the trie multiplies places with."""
SIZE = 1 << 22
"""Bytes of a range of the deep trie."""
REACH = 1 << 30
"""The deep trie's ranges end here."""
GUARD = 64
"""Bytes that are kept between ranges, so that they do not coalesce."""
ROOM = SIZE + 2 * GUARD
TRIES = 4000
"""Places that are tried for one depth: the deepest have few."""


def _forge(instance: Instance, handle: int) -> None:
    instance.call("store_u64", handle - HEADER, U64)
    instance.call("store_u64", handle - HEADER // 2, U64)


def _crowd(count: int, length: Callable[[random.Random], int]) -> Callable[[Instance], Iterator[int]]:
    def run(instance: Instance) -> Iterator[int]:
        rng = random.Random(7)  # noqa: S311 - the same disorder in every run
        handles = [instance.call("alloc", length(rng)) for _ in range(count)]
        for handle in handles:
            _forge(instance, handle)
        rng.shuffle(handles)
        for handle in handles:
            yield instance.count("free", handle)[1]

    return run


def path_of(size: int, place: int) -> int:
    """Return the 64 bits that lead to a free range, the root's first: `key` in kernel-src/src/trie.rs."""
    number = (size >> 4) << 32 | place * HASH % (1 << 32)
    zeros = 64 - number.bit_length()
    doublings = 30 - zeros
    bits = ((number << zeros & U64) >> 3) + (((doublings & 3) + 7) << 60) & U64
    ones = doublings >> 2
    return bits >> ones | U64 << (64 - ones) & U64


def _shared(one: int, other: int) -> int:
    return 64 - (one ^ other).bit_length()


def deep_places(top: int) -> list[int]:
    """Return places for ranges of `SIZE` bytes that hang one below the other, by depth.

    Where the sizes' bits end, each shares one more bit of its place with `top`; before that any will do.
    """
    rng = random.Random(1)  # noqa: S311 - the same places in every run
    inverse = pow(HASH, -1, 1 << 32)
    target = top * HASH % (1 << 32)
    taken = [top]
    deep: list[int] = []

    def is_apart(place: int) -> bool:
        is_inside = FIRST_PLACE + GUARD <= place < REACH - ROOM
        return is_inside and all(abs(place - each) >= ROOM for each in taken)

    for same in range(27, -1, -1):
        flip = 1 << (31 - same)
        for _ in range(TRIES):
            mixed = (target ^ flip) & -flip | (rng.randrange(flip) & ~15)
            place = mixed * inverse % (1 << 32)
            if is_apart(place):
                taken.append(place)
                deep.append(place)
                break
    wanted = _shared(path_of(SIZE, top), path_of(SIZE, deep[-1])) - 4
    anywhere = (place for place in range(0, REACH, SIZE) if is_apart(place))
    shallow: list[int] = []
    while len(shallow) < wanted:
        shallow.append(next(anywhere))
        taken.append(shallow[-1])
    return shallow + deep[::-1]


def _deep(instance: Instance) -> Iterator[int]:
    """Free a block between the two topmost ranges of a trie that is one long path.

    What they become together is its lowest: both removals and the insertion go all the way.
    """
    top = REACH // 2
    places = deep_places(top)
    middle, right = top + 2 * HEADER, top + SIZE // 4
    sizes = dict.fromkeys(places, SIZE) | {
        top: middle - top,
        middle: right - middle,
        right: top + SIZE - right,
    }
    handles: dict[int, int] = {}
    end = FIRST_PLACE
    for place in sorted(sizes):
        if place > end:
            instance.call("alloc", place - end - HEADER)
        handles[place] = instance.call("alloc", sizes[place] - HEADER)
        end = place + sizes[place]
    instance.call("alloc", 1)
    for handle in handles.values():
        _forge(instance, handle)
    for place in (top, right, *places):
        yield instance.count("free", handles[place])[1]
    yield instance.count("free", handles[middle])[1]
    yield instance.count("alloc", SIZE - HEADER)[1]


DEEP = Scenario(name="free and alloc, a trie built to be deep", clause="C-1", limit=CONSTANT, run=_deep)
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
    DEEP,
)
