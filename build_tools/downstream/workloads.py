"""Times what guests do most on two adapters that take turns: only ratios within one run mean something."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.downstream.adapter import load_fields

if TYPE_CHECKING:
    from build_tools.downstream.adapter import Asks

PLUGIN = "work"
ROUNDS, FEW_ROUNDS = 9, 3
SPAN_US = 80_000
"""CPU time that one measurement should take: far above the clock's step, short enough for many rounds."""
LONG_US = 1_500_000
"""A single call that takes this long is measured in few rounds."""
WARM_US = 600_000
"""CPU time for compilers that work while a program runs."""
MOST_TIMES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is called; without a function, the plug-in is made and let go."""

    name: str
    function: str = ""
    length: int = 0


WORKLOADS = (
    Workload(name="2,000 allocations", function="allocations"),
    Workload(name="echo of 4 KiB", function="echo", length=4096),
    Workload(name="echo of 64 KiB", function="echo", length=65536),
    Workload(name="echo of 6.4 MB", function="echo", length=6_400_000),
    Workload(name="consume of 4 KiB", function="consume", length=4096),
    Workload(name="consume of 64 KiB", function="consume", length=65536),
    Workload(name="consume of 6.4 MB", function="consume", length=6_400_000),
    Workload(name="making a plug-in"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """CPU time with the kernel given over that of the SDK as shipped: median, least, most of the rounds."""

    workload: str
    median: float
    low: float
    high: float
    rounds: int
    shipped_us: float
    """Microseconds of CPU time for one call as shipped, the median; it depends on the machine."""
    given_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """A workload that one of the two could not do."""

    workload: str
    reason: str


def compare(shipped: Asks, given: Asks, module: bytes) -> list[Ratio | Unmeasured]:
    """Return one ratio for each workload, played by the module of tests/conformance/plugins/work.wat."""
    for adapter in (shipped, given):
        adapter.ask("load", **load_fields(PLUGIN, [("main", module)]))
    return [_compare_one(shipped, given, workload) for workload in WORKLOADS]


def _compare_one(shipped: Asks, given: Asks, workload: Workload) -> Ratio | Unmeasured:
    try:
        once = max(_warm(adapter, workload) for adapter in (shipped, given))
        times = max(1, min(MOST_TIMES, round(SPAN_US / max(1, once))))
        rounds = FEW_ROUNDS if once >= LONG_US else ROUNDS
        pairs: list[tuple[float, float]] = []
        for number in range(rounds):
            turns = (shipped, given) if number % 2 else (given, shipped)
            spent = {id(adapter): _time(adapter, workload, times) for adapter in turns}
            pairs.append((max(1, spent[id(shipped)]) / times, max(1, spent[id(given)]) / times))
    except _RefusedError as refused:
        return Unmeasured(workload=workload.name, reason=str(refused))
    ratios = [after / before for before, after in pairs]
    return Ratio(
        workload=workload.name,
        median=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        rounds=rounds,
        shipped_us=statistics.median(before for before, _ in pairs),
        given_us=statistics.median(after for _, after in pairs),
    )


class _RefusedError(Exception):
    """An adapter could not do a workload; the text is its own."""


def _warm(adapter: Asks, workload: Workload) -> float:
    """Call until compilers have had their time; return the CPU time of the last calls, per call."""
    spent, times = 0, 1
    while True:
        used = _time(adapter, workload, times)
        spent += used
        if spent >= WARM_US or times >= MOST_TIMES:
            return used / times
        times *= 2


def _time(adapter: Asks, workload: Workload, times: int) -> int:
    function = {"function": workload.function, "length": workload.length} if workload.function else {}
    answer = adapter.ask("time", plugin=PLUGIN, times=times, **function)
    if answer["result"] != "ok":
        raise _RefusedError(str(answer.get("message", answer["result"])).strip().split("\n")[0])
    return int(answer["cpu_us"])
