"""A-3, A-4, A-5 and the L clauses: how much memory is asked for, and when it is used again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import wasmtime

from tests.integration.kernel_support import PAGE, pages, read, registers, write

if TYPE_CHECKING:
    from build_tools.bench.metered import Instance, Workshop

LENGTHS = (1, 8, 1000, 65_535, 65_536, 100_000, 131_072, 1 << 20, (1 << 20) + 1, 5_000_000, 1 << 26)
OWN = 2300
"""Bytes that the kernel keeps for its bins, and for records that are not used yet (A-3)."""


def pages_to(end: int) -> int:
    """Return the pages that reach to an address."""
    return -(-end // PAGE)


@pytest.mark.parametrize("length", LENGTHS)
def test_first_growth_asks_for_the_need(length: int, workshop: Workshop) -> None:
    """A-3."""
    instance = workshop.instantiate()
    first = pages(instance)
    handle = instance.call("alloc", length)
    assert handle != 0
    assert pages(instance) <= max(first, pages_to(handle + length + OWN))


def ample(owned: int) -> int:
    """Return the pages that may be asked for beyond the need (A-3)."""
    return owned // 8 if owned >= 64 else 0


def test_growth_in_many_steps_asks_for_need_and_an_eighth(workshop: Workshop) -> None:
    """A-3: under 2,000 live blocks, each time."""
    instance = workshop.instantiate()
    for number in range(1900):
        before, length = pages(instance), 64 + 997 * number % 6000
        handle = instance.call("alloc", length)
        grown = pages(instance) - before
        need = handle + length + OWN + 20 * (number + 1)
        assert grown <= max(0, pages_to(need) - before) + ample(before), f"block {number}"


def test_growth_with_many_blocks_asks_for_one_page_and_an_eighth(workshop: Workshop) -> None:
    """A-3: the need counts what the kernel keeps for each block."""
    instance = workshop.instantiate()
    for number in range(30_000):
        before = pages(instance)
        instance.call("alloc", 64)
        grown = pages(instance) - before
        assert grown <= 1 + ample(before), f"block {number}: {before} pages, {grown} more"


@pytest.mark.parametrize("limit", [2, 3, 5, 17, 18, 33])
def test_request_that_fits_the_limit_succeeds(limit: int, workshop: Workshop) -> None:
    """A-4, A-1: the largest block is the memory but for a small part, and refusals change nothing."""
    low, high = 1, limit * PAGE
    while low < high:
        middle = (low + high + 1) // 2
        if workshop.instantiate(pages=limit).call("alloc", middle):
            low = middle
        else:
            high = middle - 1
    assert low >= limit * PAGE - 8192 - limit * PAGE // 256
    instance = workshop.instantiate(pages=limit)
    small = instance.call("alloc", 8)
    for length in (limit * PAGE, 1 << 31, 1 << 32, (1 << 64) - 1):
        assert instance.call("alloc", length) == 0
    assert instance.call("length", small) == 8
    assert instance.call("alloc", 100) != 0
    instance.call("reset")
    assert instance.call("alloc", low) != 0


def test_refused_request_changes_nothing(workshop: Workshop) -> None:
    """A-4, A-1: a twin that was not asked gives the same handles ever after."""
    asked, twin = workshop.instantiate(pages=4), workshop.instantiate(pages=4)
    for number in range(60):
        for instance in (asked, twin):
            instance.call("alloc", 40 + number)
        for length in (1 << 20, (1 << 32) - 1, 1 << 32, (1 << 32) + 8, 1 << 63, (1 << 64) - 12):
            assert asked.call("alloc", length) == 0
        assert pages(asked) == pages(twin)
        if number % 3 == 0:
            for instance in (asked, twin):
                instance.call("free", instance.call("alloc", 2000))
        assert asked.call("alloc", 24) == twin.call("alloc", 24)


def fill_memory(instance: Instance, length: int) -> list[int]:
    handles = []
    while handle := instance.call("alloc", length):
        handles.append(handle)
    return handles


def test_freed_blocks_are_reused_oldest_first_and_under_pressure_only(workshop: Workshop) -> None:
    """A-5."""
    instance = workshop.instantiate(pages=2)
    early = [instance.call("alloc", 64) for _ in range(3)]
    keep = instance.call("alloc", 64)
    for handle in (early[0], early[2]):
        instance.call("free", handle)
    handles = fill_memory(instance, 64)
    at = {handle: number for number, handle in enumerate([*handles])}
    assert keep not in at
    assert at[early[0]] < at[early[2]], "the oldest freed goes first"
    assert set(handles[: at[early[0]]]).isdisjoint(early), "unused bytes go before freed ones"
    assert len(handles) - at[early[0]] < 80, "only when almost all unused bytes are gone"


def test_freed_neighbours_serve_one_large_request(workshop: Workshop) -> None:
    """A-5: k freed bytes in a row serve a request of k minus the overhead, whatever the order of frees."""
    for order in (1, -1):
        instance = workshop.instantiate(pages=4)
        chosen = fill_memory(instance, 1000)[20:60]
        steps = {after - before for before, after in itertools.pairwise(chosen)}
        assert len(steps) == 1, "neighbours"
        for handle in chosen[::order]:
            instance.call("free", handle)
        assert instance.call("alloc", 39 * 1000) == chosen[0]


def test_memory_does_not_grow_while_a_freed_range_fits(workshop: Workshop) -> None:
    """A-5: 400 blocks of growing size, one live at a time."""
    instance = workshop.instantiate()
    for number in range(1, 401):
        instance.call("free", instance.call("alloc", 100 * number))
    assert pages(instance) <= 4


def test_large_block_is_reused_and_small_one_is_not(workshop: Workshop) -> None:
    """A-5: the figures that suites of hosts pin."""
    instance = workshop.instantiate()
    large = instance.call("alloc", 65_535)
    instance.call("free", large)
    assert instance.call("alloc", 65_535) == large
    small = instance.call("alloc", 1)
    instance.call("free", small)
    assert instance.call("alloc", 2) != small


def test_foreign_pages_are_never_handed_out(workshop: Workshop) -> None:
    """A-3: memory grown by somebody else stays theirs, between blocks, after reset and after frees."""
    instance = workshop.instantiate()
    foreign = []
    handles = []
    for _ in range(6):
        handles.append(instance.call("alloc", 70_000))
        start = instance.memory.grow(instance.store, 1) * PAGE
        write(instance, start, b"\xee" * PAGE)
        foreign.append(start)
    for handle in handles:
        instance.call("free", handle)
    again = [instance.call("alloc", 30_000) for _ in range(12)]
    instance.call("reset")
    again_after_reset = [instance.call("alloc", 30_000) for _ in range(40)]
    for handle in [*again, *again_after_reset]:
        assert all(handle + 30_000 <= start or start + PAGE <= handle for start in foreign), hex(handle)
    assert all(read(instance, start, PAGE) == b"\xee" * PAGE for start in foreign)


def test_memory_bytes_counts_what_the_kernel_manages(workshop: Workshop) -> None:
    """A-8: not the pages of others."""
    instance = workshop.instantiate()
    assert instance.call("memory_bytes") == pages(instance) * PAGE
    instance.call("alloc", 1 << 20)
    assert instance.call("memory_bytes") == pages(instance) * PAGE
    before = instance.call("memory_bytes")
    instance.memory.grow(instance.store, 3)
    assert instance.call("memory_bytes") == before


LIVES = """
(module
  (import "kernel" "reset" (func $reset))
  (import "kernel" "alloc" (func $alloc (param i64) (result i64)))
  (import "kernel" "free" (func $free (param i64)))
  (import "kernel" "output_set" (func $output_set (param i64 i64)))
  (import "kernel" "error_set" (func $error_set (param i64)))
  (func (export "run") (param $lives i64) (param $largest i64) (result i64)
    (local $block i64) (local $wrong i64) (local $first i64) (local $length i64)
    (loop $life
      (call $reset)
      (local.set $length (i64.add (i64.const 1) (i64.rem_u
        (i64.mul (local.get $lives) (i64.const 7919)) (local.get $largest))))
      (local.set $block (call $alloc (local.get $length)))
      (if (i64.eqz (local.get $first)) (then (local.set $first (local.get $block))))
      (if (i64.ne (local.get $first) (local.get $block))
        (then (local.set $wrong (i64.add (local.get $wrong) (i64.const 1)))))
      (call $output_set (local.get $block) (local.get $length))
      (call $free (local.get $block))
      (call $error_set (local.get $block))
      (local.set $lives (i64.sub (local.get $lives) (i64.const 1)))
      (br_if $life (i64.ne (local.get $lives) (i64.const 0))))
    (local.get $wrong)))
"""


def test_100000_calls_use_no_more_memory_than_the_largest(workshop: Workshop) -> None:
    """L-5, L-2: a host and its guest in one module, so that it takes a second and not half a minute."""
    instance = workshop.instantiate()
    largest = 10_000
    instance.call("alloc", largest)
    size = pages(instance)
    names = ("reset", "alloc", "free", "output_set", "error_set")
    module = wasmtime.Module(workshop.engine, bytes(wasmtime.wat2wasm(LIVES)))
    host = wasmtime.Instance(instance.store, module, [instance.exports[name] for name in names])
    run = host.exports(instance.store)["run"]
    assert isinstance(run, wasmtime.Func)
    instance.store.set_fuel(1 << 40)
    assert run(instance.store, 100_000, largest) == 0, "each life begins at the very first handle"
    assert pages(instance) == size


def test_instances_do_not_see_each_other(workshop: Workshop) -> None:
    """L-4."""
    one, other = workshop.instantiate(), workshop.instantiate()
    handle = one.call("alloc", 24)
    one.call("store_u64", handle, 77)
    one.call("error_set", handle)
    assert registers(other) == (0, 0, 0, 0, 0)
    assert other.call("length", handle) == 0
    assert other.call("load_u64", handle) == 0
    assert other.call("alloc", 24) == handle
    assert other.call("load_u64", handle) == 0


OVERWRITTEN = {"ones": b"\xff", "text": b"{", "zeros": b"\0"}
LENGTHS_FROM_ZERO = (8, 33, 64, 100, 400, 1024, 2048, 5000)
NULL_ZONE = 2032


def overwritten(workshop: Workshop, data: bytes) -> Instance:
    """Return an instance with an earlier life's bytes in it, whose host wrote at handle 0."""
    instance = workshop.instantiate()
    for _ in range(40):
        write(instance, instance.call("alloc", 1000), b"\xc7" * 1000)
    write(instance, 0, data)
    return instance


def check_is_fresh(instance: Instance, fresh: Instance) -> None:
    assert registers(instance) == (0, 0, 0, 0, 0)
    for size in (40, 1000, 8, 5000, 64):
        handle = instance.call("alloc", size)
        assert handle == fresh.call("alloc", size)
        assert instance.call("length", handle) == size
        assert not read(instance, handle, size).strip(b"\0"), "A-2: an earlier life's bytes"


@pytest.mark.parametrize("byte", OVERWRITTEN.values(), ids=OVERWRITTEN)
@pytest.mark.parametrize("length", LENGTHS_FROM_ZERO)
def test_reset_heals_what_a_host_wrote_from_address_zero(
    byte: bytes, length: int, workshop: Workshop
) -> None:
    """L-6: hosts that overlook handle 0 write their input there."""
    instance = overwritten(workshop, byte * length)
    instance.call("reset")
    check_is_fresh(instance, workshop.instantiate())


@pytest.mark.parametrize("byte", OVERWRITTEN.values(), ids=OVERWRITTEN)
def test_what_a_host_writes_below_the_blocks_harms_nothing(byte: bytes, workshop: Workshop) -> None:
    """L-6, without a `reset`."""
    instance = overwritten(workshop, b"")
    handle = instance.call("alloc", 40)
    instance.call("store_u64", handle, 7)
    instance.call("output_set", handle, 40)
    instance.call("error_set", handle)
    before = registers(instance)
    write(instance, 0, byte * NULL_ZONE)
    assert registers(instance) == before
    assert (instance.call("load_u64", handle), instance.call("length", handle)) == (7, 40)
    assert instance.call("load_u64", 16) == 0
    other = instance.call("alloc", 300_000)
    assert other != 0
    assert not read(instance, other, 300_000).strip(b"\0")


FIRST_CALLS = {
    "alloc": (8,),
    "free": (8,),
    "length": (1024,),
    "length_unsafe": (1024,),
    "load_u8": (1024,),
    "load_u64": (1024,),
    "store_u8": (1024, 7),
    "store_u64": (1024, 7),
    "input_set": (1024, 8),
    "input_offset": (),
    "input_length": (),
    "input_load_u8": (0,),
    "input_load_u64": (0,),
    "output_set": (1024, 8),
    "output_offset": (),
    "output_length": (),
    "error_set": (0,),
    "error_get": (),
    "reset": (),
    "memory_bytes": (),
}


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_any_export_may_be_the_first_call(name: str, workshop: Workshop) -> None:
    """L-1."""
    instance, other = workshop.instantiate(), workshop.instantiate()
    value = instance.call(name, *FIRST_CALLS[name])
    if name == "memory_bytes":
        assert value == pages(instance) * PAGE
    elif name != "alloc":
        assert value == 0
        assert registers(instance) == (0, 0, 0, 0, 0)
        assert instance.call("alloc", 64) == other.call("alloc", 64)
