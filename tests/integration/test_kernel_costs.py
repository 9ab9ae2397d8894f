"""C-1 to C-5, counted in fuel on the staged module. Nothing here looks at a clock."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from build_tools.base.project import find_project
from build_tools.bench.costs import Cost, measure
from build_tools.bench.groups import GROUPS
from build_tools.bench.guests import LOOPS
from build_tools.bench.metered import U64
from build_tools.bench.play import play_trace
from build_tools.bench.runtimes import RUNTIMES
from build_tools.bench.scenarios import CONSTANT, RESET, SCENARIOS
from build_tools.bench.tables import is_over
from build_tools.bench.traces import FILLS, between, filling
from build_tools.bench.worst import WORST
from tests.integration.kernel_support import hostile_values, pages

if TYPE_CHECKING:
    from build_tools.bench.metered import Instance, NamedModule, Workshop
    from build_tools.bench.scenarios import Scenario
    from build_tools.bench.traces import Trace
    from build_tools.kernel.values import StagedKernel

LIVE = 20_000
SIZE_LIMIT = 3400
ON_HANDLES = ("length", "length_unsafe", "free", "error_set")


@pytest.fixture(scope="module")
def counted(kernel: NamedModule) -> dict[str, Cost]:
    return {cost.scenario: cost for cost in measure(kernel).costs}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_cost_of_scenario_is_in_its_bound(scenario: Scenario, counted: dict[str, Cost]) -> None:
    """C-1, C-2 and the fuel part of C-3: what the table in COSTS.md shows."""
    cost = counted[scenario.name]
    assert not is_over(scenario, cost), f"{cost} is over {scenario.limit} of {scenario.clause}"


@pytest.mark.parametrize("failure", [None, "alloc(8): out of bounds"], ids=["expensive", "failed"])
def test_bound_trips_on_a_dear_or_failed_scenario(failure: str | None) -> None:
    scenario = SCENARIOS[1]
    most = scenario.limit + 1 if failure is None else 0
    cost = Cost(scenario=scenario.name, calls=1, mean=most, most=most, failure=failure)
    assert is_over(scenario, cost)


def test_size_is_in_its_bound(kernel: NamedModule) -> None:
    """C-4."""
    assert len(kernel.data) <= SIZE_LIMIT


class Meter:
    """Calls, and keeps those that cost too much."""

    def __init__(self, instance: Instance, limit: int = CONSTANT) -> None:
        self.instance = instance
        self.limit = limit
        self.expensive: list[str] = []

    def call(self, name: str, *args: int) -> int:
        value, fuel = self.instance.count(name, *args)
        if fuel > self.limit:
            self.expensive.append(f"{name}{args}: {fuel:,}")
        return value

    def probe(self, handles: list[int]) -> None:
        """Call every export that takes a handle or an address, with good values and bad ones."""
        near = random.Random(2).sample(handles, 12)  # noqa: S311 - the same sample in every run
        for value in (*near, *hostile_values(*near)):
            value &= U64  # noqa: PLW2901 - below the first block is far above
            for name in ON_HANDLES:
                self.call(name, value)
            for name in ("load_u8", "load_u64", "input_load_u8", "input_load_u64"):
                self.call(name, value)
            for length in (0, 1, 64, 1 << 32, U64 - 8, U64):
                self.call("input_set", value, length)
                self.call("output_set", value, length)
            self.call("free", value)
        for name in ("memory_bytes", "input_offset", "output_length", "error_get"):
            self.call(name)


def fill(instance: Instance, count: int, sizes: tuple[int, ...]) -> list[int]:
    return [instance.call("alloc", sizes[number % len(sizes)]) for number in range(count)]


def test_calls_among_20000_live_blocks_are_bounded(workshop: Workshop) -> None:
    """C-1."""
    meter = Meter(workshop.instantiate())
    meter.probe(fill(meter.instance, LIVE, (8, 64, 24, 200)))
    assert meter.expensive == []


ORDERS = ("first-to-last", "last-to-first", "every-other", "every-seventh", "disorder")


def in_order(handles: list[int], order: str) -> list[int]:
    if order == "last-to-first":
        return handles[::-1]
    if order == "every-other":
        return handles[::2]
    if order == "every-seventh":
        return handles[::7]
    if order == "disorder":
        mixed = handles[:]
        random.Random(3).shuffle(mixed)  # noqa: S311 - the same disorder in every run
        return mixed
    return handles


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_free_of_20000_blocks_twice_is_bounded(order: str, workshop: Workshop) -> None:
    """C-1: frees, double frees, and what comes after them, in any order."""
    meter = Meter(workshop.instantiate())
    handles = fill(meter.instance, LIVE, tuple(range(1, 41)))
    freed = in_order(handles, order)
    for handle in freed:
        meter.call("free", handle)
    for handle in freed[::7]:
        meter.call("free", handle)
    meter.probe(handles)
    assert meter.expensive == []


def test_deferred_free_among_20000_blocks_is_bounded(workshop: Workshop) -> None:
    """C-1, A-7: the call that lets go of a block also ends it."""
    meter = Meter(workshop.instantiate())
    handles = fill(meter.instance, LIVE, tuple(range(1, 41)))
    for number, handle in enumerate(handles[::7]):
        meter.call("error_set", handle)
        meter.call("free", handle)
        if number % 3 == 0:
            meter.call("output_set", handle, 1)
            meter.call("free", handle)
    meter.call("error_set", 0)
    meter.call("output_set", 0, 0)
    assert meter.expensive == []


def test_alloc_among_ranges_that_do_not_fit_is_bounded(workshop: Workshop) -> None:
    """C-1: in full memory, with thousands of freed ranges of like size, found or not."""
    meter = Meter(workshop.instantiate(pages=40))
    handles: list[int] = []
    while handle := meter.instance.call("alloc", 500 + len(handles) % 500):
        handles.append(handle)
    for handle in handles[::2]:
        meter.call("free", handle)
    for length in (1200, 1100, 1020, 990, 985, 700, 530, 520, 502, 1, 8, 2000):
        for _ in range(20):
            meter.call("alloc", length)
    assert meter.expensive == []


def test_alloc_under_an_output_over_everything_is_bounded(workshop: Workshop) -> None:
    """C-1, R-3: a guest can lay the output over thousands of freed ranges, none of which may be used then."""
    meter = Meter(workshop.instantiate(pages=40))
    handles: list[int] = []
    while handle := meter.instance.call("alloc", 1 + len(handles) % 900):
        handles.append(handle)
    for handle in in_order(handles[::2], "disorder"):
        meter.instance.call("free", handle)
    meter.instance.call("output_set", handles[0], handles[-1] - handles[0])
    for length in (1, 40, 200, 500, 800, 1500):
        meter.call("alloc", length)
    assert meter.expensive == []


def test_large_alloc_among_large_ranges_is_bounded(workshop: Workshop) -> None:
    """C-1: blocks over 1 KiB are looked for among the freed ones first."""
    meter = Meter(workshop.instantiate(pages=200))
    handles = fill(meter.instance, 2000, (2050, 3000, 4000, 16, 2700))
    for handle in handles[::2]:
        meter.call("free", handle)
    for length in (4096, 4090, 4001, 3990, 2100, 3500, 6000, 9000):
        for _ in range(20):
            before = pages(meter.instance)
            handle, fuel = meter.instance.count("alloc", length)
            if fuel > CONSTANT + length and before == pages(meter.instance):  # bytes cleared count one each
                meter.expensive.append(f"alloc({length}): {fuel:,}")
            meter.call("free", handle)
    assert meter.expensive == []


def test_calls_after_stores_everywhere_are_bounded(workshop: Workshop) -> None:
    """C-1, M-3: words around and in each block hold what would mislead an allocator that trusted them."""
    meter = Meter(workshop.instantiate())
    handles = fill(meter.instance, 400, (8, 64, 24, 200))
    for handle in handles[::3]:
        meter.instance.call("free", handle)
    values = (0, U64, U64 - 11, (1 << 32) - 8, 1 << 31, *handles[:3])
    for number, handle in enumerate(handles):
        for address in range(handle - 24, handle + 32, 8):
            meter.call("store_u64", address, values[(number + address) % len(values)])
    for address in range(0, handles[0], 4):
        meter.call("store_u64", address, U64)
    meter.probe(handles)
    for handle in handles:
        meter.call("length", handle)
        meter.call("free", handle)
    for _ in range(100):
        meter.call("alloc", 64)
    assert meter.expensive == []


def test_alloc_is_bounded_but_for_growth(workshop: Workshop) -> None:
    """C-1: growth may move the kernel's records; shared by all 20,000 calls, that is little."""
    instance = workshop.instantiate()
    expensive, growth, size = [], 0, pages(instance)
    for number in range(LIVE):
        _, fuel = instance.count("alloc", 64)
        if size != pages(instance):
            growth += fuel
            size = pages(instance)
        elif fuel > CONSTANT:
            expensive.append(f"alloc number {number}: {fuel:,}")
    assert expensive == []
    assert growth / LIVE < CONSTANT, "growth costs too much even when shared by all calls"


SHORT_FILLS = [trace for trace in FILLS if len(trace.operations()) <= LIVE]


@pytest.mark.parametrize("trace", SHORT_FILLS, ids=lambda trace: trace.name)
def test_filling_costs_each_block_its_share(trace: Trace, kernel: NamedModule) -> None:
    """C-5: the mean of an `alloc` while memory fills; `bench --traces` has the longer ones."""
    played = play_trace(kernel, trace)
    assert played.end is None
    assert played.mean <= trace.goal


LARGE, AT_FIRST = 350, 30_000


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 700])
@pytest.mark.parametrize("length", [8192, 32_768, 65_520, 131_040])
def test_filling_with_large_blocks_costs_little_more_at_first(
    length: int, count: int, kernel: NamedModule
) -> None:
    """C-5: what growth in single pages costs beyond the mean is bounded for all calls together."""
    played = play_trace(kernel, filling("large", LARGE, count, between(length, length)))
    assert played.end is None
    assert (played.mean - LARGE) * count <= AT_FIRST


LIVES = {
    "nothing": (0, 0),
    "one-small": (1, 16),
    "20000-small": (LIVE, 64),
    "one-of-16-mib": (1, 1 << 24),
    "one-of-1500-mib": (1, 1500 << 20),
}


@pytest.mark.parametrize(("count", "length"), LIVES.values(), ids=LIVES)
def test_reset_is_bounded_after_any_life(count: int, length: int, workshop: Workshop) -> None:
    """C-3: also twice in a row, and when the registers hold freed blocks."""
    meter = Meter(workshop.instantiate(), RESET)
    handles = [meter.instance.call("alloc", length) for _ in range(count)]
    for handle in handles[-1:]:
        meter.instance.call("output_set", handle, 8)
        meter.instance.call("free", handle)
    for _ in range(3):
        meter.call("reset")
    assert meter.expensive == []


COSTS = find_project().kernel_src / "COSTS.md"
RUNTIMES_PAGE = COSTS.with_name("RUNTIMES.md")
COMMAND = "python -m build_tools bench --worst --traces --against upstream --allocators --markdown"
REFRESH = f"{COMMAND} > kernel-src/COSTS.md"


def test_table_of_costs_has_every_scenario() -> None:
    """C-1 to C-3: the committed table names its command, and each row and bound that is counted today."""
    text = COSTS.read_text(encoding="utf-8")
    assert COMMAND in text
    for scenario in SCENARIOS + WORST:
        assert f"| {scenario.name} | {scenario.clause} | {scenario.limit:,} |" in text, f"run `{REFRESH}`"


def test_tables_of_traces_have_every_trace_and_argue_each_miss() -> None:
    """C-5, and the goals that no clause has."""
    text = COSTS.read_text(encoding="utf-8")
    for group in GROUPS:
        assert f"## {group.title}\n" in text, f"run `{REFRESH}`"
        for trace in group.traces:
            assert f"| {trace.name} | {trace.goal:,} |" in text, f"run `{REFRESH}`"
    assert ": missed." not in text


def test_page_of_runtimes_has_every_loop() -> None:
    text = RUNTIMES_PAGE.read_text(encoding="utf-8")
    assert "`python -m build_tools bench --runtimes --against upstream --markdown`" in text
    for runtime in RUNTIMES:
        for loop in LOOPS:
            assert f"\n| {runtime} | {loop} |" in text


def test_table_of_costs_is_of_this_kernel(kernel: NamedModule, built: StagedKernel) -> None:
    """C-1 to C-4: bytes, and so figures, are the same only where the compiler is."""
    if not built.toolchain.endswith("from rustup; release toolchain"):
        pytest.skip(f"built with {built.toolchain}; install what kernel-src/rust-toolchain.toml pins")
    costs = measure(kernel, [])
    row = f"| ours | {costs.size:,} | `{costs.sha256[:16]}` |"
    assert row in COSTS.read_text(encoding="utf-8"), f"run `{REFRESH}`"
