"""L-3: a call cut before any instruction, or by a limiter that traps, leaves what `reset` repairs.

wasmtime's fuel ends a call only where a function begins or a loop turns. The module under test counts for
itself, before each instruction.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.bench.metered import CallFailedError, NamedModule, Workshop
from tests.integration.kernel_cut_calls import (
    AFTER,
    CUTS,
    MARK,
    OTHERS,
    Cut,
    fill,
    grow_by_others,
    some_blocks,
)
from tests.integration.kernel_support import (
    Cuttable,
    Metered,
    pages,
    read,
    registers,
    with_trapping_growth,
    write,
)

if TYPE_CHECKING:
    from build_tools.bench.metered import Instance

MOST_INSTRUCTIONS = 6000
DENSE = 400
"""Calls up to this long, and the first and last instructions of longer ones, are cut everywhere."""
STRIDE = 13
"""Between, every so many instructions; the native search of `kernel-src/tests/cuts.rs` leaves out none."""


def places(total: int) -> list[int]:
    """Return where to cut a call of so many instructions."""
    edge = total if total <= DENSE else DENSE // 4
    return sorted({*range(min(edge, total)), *range(0, total, STRIDE), *range(max(0, total - edge), total)})


@pytest.fixture(scope="module")
def metered(kernel: NamedModule) -> Metered:
    return Metered(kernel.data)


@pytest.fixture(scope="module")
def fresh(metered: Metered) -> list[int]:
    """The handles of `AFTER` on an instance to which nothing has happened."""
    instance = metered.instantiate()
    return [instance.call("alloc", length) for length in AFTER]


def check_as_a_host(instance: Instance, fresh: list[int]) -> None:
    """Make the calls that a host makes after a cut, and hold each against a fresh instance."""
    size = pages(instance) * 65_536
    error = instance.call("error_get")
    assert error + instance.call("length", error) <= size, "the error lies outside memory"
    end = instance.call("output_offset") + instance.call("output_length")
    assert end <= size, "the output lies outside memory"
    instance.call("error_set", 0)
    instance.call("reset")
    assert registers(instance) == (0, 0, 0, 0, 0), "registers after reset"
    handles = []
    for length in AFTER:
        handle = instance.call("alloc", length)
        handles.append(handle)
        assert not read(instance, handle, length).strip(b"\0"), f"alloc({length}) shows old bytes"
        write(instance, handle, MARK * length)
        assert instance.call("length", handle) == length
    assert handles == fresh
    for handle, length in zip(handles, AFTER, strict=True):
        assert read(instance, handle, length) == MARK * length, f"the block at {handle} was overwritten"
        instance.call("free", handle)
        assert instance.call("length", handle) == 0, f"the block at {handle} outlives its free"


def judge(instance: Instance, fresh: list[int]) -> str | None:
    """Return what is wrong, a trap of any later call too."""
    try:
        check_as_a_host(instance, fresh)
    except (AssertionError, CallFailedError) as error:
        return str(error)
    return None


def sweep(cut: Cut, metered: Metered, fresh: list[int], *, is_complete: bool) -> list[str]:
    """Cut a call of a fresh instance at one place after the other; return what was wrong."""
    whole = metered.instantiate()
    total = whole.fuel_of(cut.name, *cut.setup(whole))
    assert total < MOST_INSTRUCTIONS
    wrong = []
    for fuel in range(total) if is_complete else places(total):
        instance = metered.instantiate()
        arguments = cut.setup(instance)
        assert instance.cut(fuel, cut.name, *arguments), f"not cut at {fuel} of {total}"
        found = judge(instance, fresh)
        if found:
            wrong.append(f"cut at {fuel} of {total}: {found}")
    return wrong


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_reset_restores_a_fresh_state_after_any_cut(cut: Cut, metered: Metered, fresh: list[int]) -> None:
    """L-3, L-2, A-2."""
    assert sweep(cut, metered, fresh, is_complete=False) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["growing-alloc", "alloc-after-foreign-growth"])
def test_reset_restores_a_fresh_state_after_every_cut_of_a_growth(
    name: str, metered: Metered, fresh: list[int]
) -> None:
    """L-3: the moves of the kernel's records, instruction by instruction."""
    assert sweep(CUTS[name], metered, fresh, is_complete=True) == []


@pytest.mark.parametrize(
    ("blocks", "length"),
    [
        pytest.param(9, 130_000, id="small-table"),
        pytest.param(2200, 60_000, id="table-over-itself", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_told_wrong_while_a_table_moves(blocks: int, length: int, metered: Metered) -> None:
    """L-3, A-6, M-1: until `reset`, a length is right or 0, and loads show no record."""
    size = pages(metered.instantiate())

    def cut_at(fuel: int) -> tuple[Instance, list[int]]:
        instance = metered.instantiate()
        handles = [instance.call("alloc", 24) for _ in range(blocks)]
        nonlocal size
        size = pages(instance)
        assert instance.cut(fuel, "alloc", length), f"not cut at {fuel}"
        return instance, handles

    granted = bisect.bisect_left(range(DENSE), True, key=lambda fuel: pages(cut_at(fuel)[0]) > size)
    assert 0 < granted < DENSE * 3 // 4
    for fuel in range(granted, granted + DENSE // 4):
        instance, handles = cut_at(fuel)
        assert pages(instance) == size + 1, "the new place overlaps the old one, if the table is large"
        for handle in (*handles[:: blocks // 9], handles[-1] + 8, 1 << 40):
            assert instance.call("length", handle) in {0, 24}, f"cut at {fuel}, {granted} is the growth"
            assert instance.call("load_u64", handle + (1 << 32)) == 0
            assert instance.call("input_load_u64", handle) == 0


@pytest.mark.parametrize("growths", [1, 2])
def test_pages_of_others_stay_theirs_after_any_cut(growths: int, metered: Metered) -> None:
    """L-3, A-3, L-2: wherever the kernel was while it noted them, it writes nothing there in later lives."""

    def set_up(instance: Instance) -> list[int]:
        foreign = [grow_by_others(instance)]
        for _ in range(1, growths):
            fill(instance, 150_000)
            foreign.append(grow_by_others(instance))
        return foreign

    whole = metered.instantiate()
    set_up(whole)
    total = whole.fuel_of("alloc", 100_000)
    for fuel in places(total):
        instance = metered.instantiate()
        foreign = set_up(instance)
        assert instance.cut(fuel, "alloc", 100_000)
        for length in (300_000, 400_000):
            instance.call("reset")
            handle = instance.call("alloc", length)
            assert not read(instance, handle, length).strip(b"\0")
            write(instance, handle, MARK * length)
        for start in foreign:
            assert read(instance, start, 65_536) == OTHERS, f"cut at {fuel} of {total}"


HALF_DONE = (
    "small-alloc",
    "growing-alloc",
    "alloc-after-foreign-growth",
    "alloc-that-passes-others",
    "alloc-of-freed-bytes",
    "coalescing-free",
    "reset",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", HALF_DONE)
def test_host_that_forgets_to_reset_after_a_cut_is_served(name: str, metered: Metered) -> None:
    """L-3, A-1, M-1: what comes next neither hangs nor traps, and blocks are whole and apart."""
    cut = CUTS[name]
    whole = metered.instantiate()
    total = whole.fuel_of(cut.name, *cut.setup(whole))
    for fuel in places(total):
        for lengths in ((40,), (40, 1500, 40), (1500, 70_000), (150_000, 40, 40)):
            instance = metered.instantiate()
            arguments = cut.setup(instance)
            assert instance.cut(fuel, cut.name, *arguments)
            foreign = [
                at
                for at in range(0, pages(instance) * 65_536, 65_536)
                if read(instance, at, 65_536) == OTHERS
            ]
            where = f"cut at {fuel} of {total}"
            handles = [instance.call("alloc", length) for length in lengths]
            ranges = sorted(zip(handles, lengths, strict=True))
            for (handle, length), (after, _) in zip(ranges, [*ranges[1:], (1 << 32, 0)], strict=True):
                assert handle != 0, where
                assert handle + length <= after, f"{where}: blocks overlap"
                assert all(at + 65_536 <= handle or handle + length <= at for at in foreign), (
                    f"{where}: others' page"
                )
                assert instance.call("length", handle) == length, where
                assert instance.call("length", handle + 16) == 0, where
            for handle in handles:
                instance.call("free", handle)
                assert instance.call("length", handle) == 0, where


def test_what_a_cut_growth_passes_over_shows_no_record(metered: Metered) -> None:
    """L-2, L-3: the bytes of the table before pages of others are cleared, whenever the growth was cut."""

    def set_up() -> Cuttable:
        instance = metered.instantiate()
        for _ in range(60):
            instance.call("alloc", 600)
        grow_by_others(instance)
        return instance

    total = set_up().fuel_of("alloc", 140_000)
    for fuel in places(total):
        instance = set_up()
        foreign = (pages(instance) - 1) * 65_536
        assert instance.cut(fuel, "alloc", 140_000)
        instance.call("reset")
        first = instance.call("alloc", 20_000) + 20_000
        assert instance.call("alloc", 300_000) > foreign
        passed = range(first, foreign, 8)
        assert not any(instance.call("load_u64", at) for at in passed[:: len(passed) // 100]), fuel
        assert not read(instance, first, foreign - first).strip(b"\0"), f"cut at {fuel} of {total}"


def test_cuts_in_a_row_on_one_instance_are_all_repaired(metered: Metered, fresh: list[int]) -> None:
    """L-3, L-5: the damage of one cut does not add to that of the next, nor does memory grow."""
    instance = metered.instantiate()
    judge(instance, fresh)
    instance.call("reset")
    size = pages(instance)
    wrong = []
    for name, cut in CUTS.items():
        if "grow" in name or "first" in name or "others" in name:
            continue
        for fuel in range(3, 400, 13):
            instance.cut(fuel, cut.name, *cut.setup(instance))
            found = judge(instance, fresh)
            if found:
                wrong.append(f"{name} at {fuel}: {found}")
            instance.call("reset")
    assert wrong == []
    assert pages(instance) <= size + 1


def test_sweep_trips_on_a_state_that_reset_leaves(metered: Metered, fresh: list[int]) -> None:
    """The judge sees an instance whose first block lies elsewhere."""
    instance = metered.instantiate()
    assert judge(instance, [handle + 8 for handle in fresh]) is not None


def snapshot(instance: Instance, handles: list[int]) -> tuple[object, ...]:
    lengths = [instance.call("length", handle) for handle in handles]
    contents = [read(instance, *pair) for pair in zip(handles, lengths, strict=True)]
    return pages(instance), registers(instance), lengths, contents, instance.call("memory_bytes")


def test_limiter_that_traps_finds_the_state_unchanged(kernel: NamedModule) -> None:
    """A-3, L-3: memory is asked for before anything is written."""
    trapping = Workshop(NamedModule(name="trapping", data=with_trapping_growth(kernel.data)))
    instance, twin = trapping.instantiate(), trapping.instantiate()
    handles = []
    for each in (instance, twin):
        handles = some_blocks(each)
        each.call("input_set", handles[0], 24)
        each.call("output_set", handles[3], 300)
        each.call("free", handles[3])
        each.call("error_set", handles[4])
        each.call("free", handles[6])
    before = snapshot(instance, handles)
    for length in (200_000, 1 << 20, 1 << 30):
        function = instance.exports["alloc"]
        assert isinstance(function, wasmtime.Func)
        with pytest.raises(wasmtime.Trap, match="unreachable"):
            function(instance.store, length)
        assert snapshot(instance, handles) == before
    for length in (64, 8, 1000):
        assert instance.call("alloc", length) == twin.call("alloc", length), "as if nothing had been asked"


def test_instance_serves_the_next_call_after_a_limiter_trapped(kernel: NamedModule) -> None:
    """L-3: the calls of a host that kills the guest and goes on."""
    trapping = Workshop(NamedModule(name="trapping", data=with_trapping_growth(kernel.data)))
    fresh = [trapping.instantiate().call("alloc", 64)]
    instance: Instance = trapping.instantiate()
    for _ in range(3):
        some_blocks(instance)
        with pytest.raises(CallFailedError):
            instance.call("alloc", 1 << 20)
        instance.call("error_set", 0)
        instance.call("reset")
        assert instance.call("alloc", 64) == fresh[0]
        instance.call("reset")


def test_cut_is_a_cut(metered: Metered) -> None:
    instance: Cuttable = metered.instantiate()
    total = instance.fuel_of("alloc", 64)
    again = metered.instantiate()
    assert again.cut(total - 1, "alloc", 64)
    assert not metered.instantiate().cut(total, "alloc", 64)
