"""What is counted: for each export, and for each state that might make it expensive, a few calls.

A scenario gets a fresh instance, brings it into a state, and yields the fuel of each call that it is about.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from build_tools.bench.metered import Instance

BLOCK = 64
MANY = 1000
MEGABYTE = 1 << 20
CONSTANT = 700
"""What C-1 allows any call."""
RESET = 5000
"""What C-3 allows `reset`."""
INVENTED = (
    *(1, 7, 8, 57, 4095, 65_535, 65_536, (1 << 31) - 8, 1 << 31, (1 << 32) - 8, 1 << 32, (1 << 32) + 1024),
    *(1 << 48, 1 << 63, (1 << 64) - 16, (1 << 64) - 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A name, the clause that bounds the cost, the bound, and the calls.

    The bound holds for the most expensive call, or, if `is_mean`, for the mean. `pages` limits the memory.
    """

    name: str
    clause: str
    limit: int
    run: Callable[[Instance], Iterator[int]]
    is_mean: bool = False
    pages: int | None = None


def alloc_many(instance: Instance, count: int = MANY, length: int = BLOCK) -> list[int]:
    """Allocate blocks of one length and return their handles."""
    return [instance.call("alloc", length) for _ in range(count)]


def _alloc_in_a_row(instance: Instance) -> Iterator[int]:
    instance.call("reset")  # as hosts begin; some kernels set up their memory in their first call
    for _ in range(MANY):
        yield instance.count("alloc", BLOCK)[1]


def _alloc_under_pressure(instance: Instance) -> Iterator[int]:
    handles = []
    while handle := instance.call("alloc", BLOCK):
        handles.append(handle)
    for handle in handles[::2]:
        instance.call("free", handle)
    for length in (BLOCK, BLOCK, 8, 1000, 4096):
        for _ in range(MANY // 10):
            yield instance.count("alloc", length)[1]


def _alloc_refused(instance: Instance) -> Iterator[int]:
    alloc_many(instance)
    for length in (0, 1 << 31, 1 << 32, 1 << 48, (1 << 64) - 16, (1 << 64) - 1):
        yield instance.count("alloc", length)[1]


def _on_each(name: str, *args: int) -> Callable[[Instance], Iterator[int]]:
    """Return calls of an export on each of many live blocks; `args` follow the handle."""

    def run(instance: Instance) -> Iterator[int]:
        for handle in alloc_many(instance):
            yield instance.count(name, handle, *args)[1]

    return run


def _on_input(name: str) -> Callable[[Instance], Iterator[int]]:
    def run(instance: Instance) -> Iterator[int]:
        instance.call("input_set", instance.call("alloc", MANY), MANY)
        for offset in range(0, MANY - 8, 8):
            yield instance.count(name, offset)[1]

    return run


def _getters(instance: Instance) -> Iterator[int]:
    names = ("input_offset", "input_length", "output_offset", "output_length", "error_get")
    instance.call("reset")
    for _ in range(2):
        for name in names:
            yield instance.count(name)[1]
        handle = instance.call("alloc", BLOCK)
        for name in ("input_set", "output_set"):
            instance.call(name, handle, BLOCK)
        instance.call("error_set", handle)


def _free_in_disorder(instance: Instance) -> Iterator[int]:
    handles = alloc_many(instance)
    random.Random(1).shuffle(handles)  # noqa: S311 - the same disorder in every run
    for handle in handles:
        yield instance.count("free", handle)[1]


def _twice(instance: Instance) -> Iterator[int]:
    handles = alloc_many(instance)
    for handle in handles:
        instance.call("free", handle)
    for handle in handles:
        yield instance.count("free", handle)[1]


def _wrong_handles(instance: Instance) -> Iterator[int]:
    handles = alloc_many(instance)
    for handle in handles[::2]:
        instance.call("free", handle)
    interior = [handle + step for handle in handles[1::50] for step in (1, 8, 16, 63)]
    for handle in (*handles[::20], *interior, *INVENTED):
        for name in ("length", "free", "error_set"):
            yield instance.count(name, handle)[1]


def _setters(instance: Instance) -> Iterator[int]:
    handles = alloc_many(instance)
    for number, handle in enumerate(handles[::10]):
        for name, arguments in (
            ("input_set", (handle, BLOCK)),
            ("output_set", (handle + 8, BLOCK - 8)),
            ("error_set", (handle,)),
            ("output_set", (handle, (1 << 64) - 10)),
        ):
            yield instance.count(name, *arguments)[1]
        if number % 2:
            yield instance.count("free", handle)[1]


def _far_access(instance: Instance) -> Iterator[int]:
    alloc_many(instance)
    for address in (0, *INVENTED):
        yield instance.count("load_u8", address)[1]
        yield instance.count("load_u64", address)[1]
        yield instance.count("store_u8", address, 255)[1]
        yield instance.count("store_u64", address, (1 << 64) - 1)[1]
        yield instance.count("input_load_u8", address)[1]
        yield instance.count("input_load_u64", address)[1]


def _reset_after(count: int, length: int) -> Callable[[Instance], Iterator[int]]:
    def run(instance: Instance) -> Iterator[int]:
        for _ in range(3):
            for handle in alloc_many(instance, count, length):
                instance.call("store_u8", handle + length - 1, 255)
            yield instance.count("reset")[1]

    return run


SCENARIOS = (
    Scenario(
        name="alloc(64), 1,000 in a row, fresh memory",
        clause="C-2",
        limit=82,
        run=_alloc_in_a_row,
        is_mean=True,
    ),
    Scenario(name="load_u8", clause="C-2", limit=21, run=_on_each("load_u8")),
    Scenario(name="load_u64", clause="C-2", limit=24, run=_on_each("load_u64")),
    Scenario(name="store_u8", clause="C-2", limit=18, run=_on_each("store_u8", 1)),
    Scenario(name="store_u64", clause="C-2", limit=21, run=_on_each("store_u64", 1)),
    Scenario(name="input_load_u8", clause="C-2", limit=26, run=_on_input("input_load_u8")),
    Scenario(name="input_load_u64", clause="C-2", limit=28, run=_on_input("input_load_u64")),
    Scenario(name="register getters", clause="C-2", limit=13, run=_getters),
    Scenario(name="length, 1,000 live blocks", clause="C-2", limit=45, run=_on_each("length")),
    Scenario(name="length_unsafe, 1,000 live blocks", clause="C-2", limit=45, run=_on_each("length_unsafe")),
    Scenario(name="free, 1,000 blocks in order", clause="C-1", limit=CONSTANT, run=_on_each("free")),
    Scenario(name="free, 1,000 blocks in disorder", clause="C-1", limit=CONSTANT, run=_free_in_disorder),
    Scenario(name="free, a second time", clause="C-1", limit=CONSTANT, run=_twice),
    Scenario(
        name="length, free, error_set of wrong handles", clause="C-1", limit=CONSTANT, run=_wrong_handles
    ),
    Scenario(name="input_set, output_set, error_set, free after", clause="C-1", limit=CONSTANT, run=_setters),
    Scenario(name="load and store far outside", clause="C-1", limit=CONSTANT, run=_far_access),
    Scenario(
        name="alloc in full memory, every other block freed",
        clause="C-1",
        limit=CONSTANT,
        run=_alloc_under_pressure,
        pages=17,
    ),
    Scenario(name="alloc that must be refused", clause="C-1", limit=CONSTANT, run=_alloc_refused, pages=1000),
    Scenario(name="reset after 1 KiB", clause="C-3", limit=RESET, run=_reset_after(1, 1024)),
    Scenario(name="reset after 1,000 blocks", clause="C-3", limit=RESET, run=_reset_after(MANY, BLOCK)),
    Scenario(name="reset after 64 MiB", clause="C-3", limit=RESET, run=_reset_after(1, 64 * MEGABYTE)),
)
