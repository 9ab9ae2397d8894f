"""The calls that are cut in `test_kernel_cuts.py`, and the states in which they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.kernel_support import (
    pages,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.bench.metered import Instance

MARK = b"\xc7"
AFTER = (40, 1, 1000, 64, 3000, 8, 65_535, 64)
"""Lengths that are allocated after the cut, as on a fresh instance."""


def fill(instance: Instance, length: int) -> int:
    """Return a new block that is full of marks."""
    handle = instance.call("alloc", length)
    assert handle != 0
    write(instance, handle, MARK * length)
    return handle


def some_blocks(instance: Instance) -> list[int]:
    return [fill(instance, length) for length in (24, 64, 1000, 300, 64, 2000, 8, 500, 64)]


def small_alloc(instance: Instance) -> tuple[int, ...]:
    some_blocks(instance)
    return (40,)


def first_alloc(instance: Instance) -> tuple[int, ...]:  # noqa: ARG001 - the state is that of a fresh instance
    return (40,)


def growing_alloc(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    for handle in handles[::2]:
        instance.call("free", handle)
    instance.call("error_set", handles[1])
    instance.call("output_set", handles[3], 300)
    return (150_000,)


OTHERS = b"\xee" * 65_536


def grow_by_others(instance: Instance) -> int:
    """Return where a page begins that somebody else grew and filled."""
    start = pages(instance) * 65_536
    instance.memory.grow(instance.store, 1)
    write(instance, start, OTHERS)
    return start


def alloc_after_foreign_growth(instance: Instance) -> tuple[int, ...]:
    some_blocks(instance)
    grow_by_others(instance)
    return (150_000,)


def alloc_that_passes_others(instance: Instance) -> tuple[int, ...]:
    fill(instance, 100_000)
    grow_by_others(instance)
    fill(instance, 60_000)
    instance.call("reset")
    some_blocks(instance)
    fill(instance, 65_536)
    return (60_000,)


def alloc_of_used_bytes(instance: Instance) -> tuple[int, ...]:
    some_blocks(instance)
    instance.call("reset")
    fill(instance, 24)
    return (900,)


def alloc_of_freed_bytes(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("free", handles[5])
    return (1500,)


def coalescing_free(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("free", handles[2])
    instance.call("free", handles[4])
    return (handles[3],)


def deferred_free(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("output_set", handles[3], 300)
    return (handles[3],)


def output_set_that_ends_a_block(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("output_set", handles[3], 300)
    instance.call("free", handles[2])
    instance.call("free", handles[3])
    return (handles[5], 100)


def error_set_that_ends_a_block(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("error_set", handles[4])
    instance.call("free", handles[3])
    instance.call("free", handles[4])
    return (0,)


def input_set(instance: Instance) -> tuple[int, ...]:
    return (some_blocks(instance)[2], 1000)


def reset_of_many(instance: Instance) -> tuple[int, ...]:
    handles = some_blocks(instance)
    instance.call("output_set", handles[3], 300)
    instance.call("free", handles[3])
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A state to bring an instance into, and the call that is cut in it."""

    name: str
    setup: Callable[[Instance], tuple[int, ...]]


CUTS = {
    "small-alloc": Cut(name="alloc", setup=small_alloc),
    "first-alloc-of-an-instance": Cut(name="alloc", setup=first_alloc),
    "growing-alloc": Cut(name="alloc", setup=growing_alloc),
    "alloc-after-foreign-growth": Cut(name="alloc", setup=alloc_after_foreign_growth),
    "alloc-that-passes-others": Cut(name="alloc", setup=alloc_that_passes_others),
    "alloc-of-used-bytes": Cut(name="alloc", setup=alloc_of_used_bytes),
    "alloc-of-freed-bytes": Cut(name="alloc", setup=alloc_of_freed_bytes),
    "coalescing-free": Cut(name="free", setup=coalescing_free),
    "deferred-free": Cut(name="free", setup=deferred_free),
    "output-set-that-ends-a-block": Cut(name="output_set", setup=output_set_that_ends_a_block),
    "error-set-that-ends-a-block": Cut(name="error_set", setup=error_set_that_ends_a_block),
    "input-set": Cut(name="input_set", setup=input_set),
    "reset": Cut(name="reset", setup=reset_of_many),
}
