"""Times a guest's loops on compilers and interpreters, through the adapters of the conformance suite.

The kernels take turns in one run. Only ratios are of use; the times themselves are this machine's.
"""

from __future__ import annotations

import importlib
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import BuildToolsError, ExitCode
from build_tools.base.project import find_project
from build_tools.bench.guests import (
    FIXED_ROUNDS,
    LAYOUTS,
    LOOPS,
    PREPENDED,
    empty_calls,
    with_layout,
    with_loops,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from build_tools.bench.metered import NamedModule

    Turn = Callable[[int], float]

COMPILERS = ("wasmtime", "node", "deno", "wazero-compiler")
INTERPRETERS = ("wazero-interpreter", "wasm3", "chicory-interpreter", "wasmi")
RUNTIMES = COMPILERS + INTERPRETERS
"""Configurations of the suite."""
EMPTY = "empty call"
TURNS, TURNS_PER_LAYOUT = 15, 5
LEAST_SECONDS = 0.03
WARM_SECONDS = 0.3
FIRST_ROUNDS = 1 << 8
MOST_CALLS = 500
ANSWER_SECONDS = 120.0
CPU_CLOCK = 2
"""The kind of a process's clock that the scheduler keeps, in nanoseconds."""


class RuntimeFailedError(BuildToolsError):
    """A runtime could not run the loops."""

    code = "runtime-failed"
    exit_code = ExitCode.TOOLCHAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopTime:
    """One loop on one runtime: nanoseconds of CPU time per round with each module, the least of all turns.

    `layouts` has a row for each layout of the code that was tried, with a figure for each of `modules`; the
    last is that of the empty calls.
    """

    runtime: str
    loop: str
    modules: tuple[str, ...]
    layouts: tuple[tuple[float, ...], ...]

    @property
    def nanoseconds(self) -> tuple[float, ...]:
        """The figure of each module in the layout that suits it best."""
        return tuple(map(min, zip(*self.layouts, strict=True)))


def time_runtimes(
    kernels: Sequence[NamedModule], names: Sequence[str] = RUNTIMES, watch: Callable[[], None] = lambda: None
) -> tuple[list[LoopTime], list[str]]:
    """Return the times of all loops, and why runtimes were left out: what this machine lacks.

    Raises RuntimeFailedError if a runtime that is there does not run the loops.
    """
    modules = [*map(with_loops, kernels), empty_calls(EMPTY)]
    find = _suite("adapter.find")
    known = find.find_adapters()
    times: list[LoopTime] = []
    lacking: list[str] = []
    for name in names:
        adapter = known[name]
        lack = find.find_lacking(adapter)
        if lack is not None:
            lacking.append(f"{name}: {lack}")
            continue
        try:
            times += _time_adapter(adapter, modules, watch)
        except (_suite("adapter.process").AdapterFault, _suite("base.errors").AdapterBuildError) as fault:
            raise RuntimeFailedError(f"{name}: {fault}", hint="leave it out, or fix its adapter") from None
    return times, lacking


def _suite(module: str) -> Any:  # noqa: ANN401 - the suite is a distribution of its own, found by its folder
    folder = str(find_project().root / "tests" / "conformance")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(f"extism_kernel_conformance.{module}")


def _time_adapter(
    adapter: Any,  # noqa: ANN401 - the suite's
    modules: Sequence[NamedModule],
    watch: Callable[[], None],
) -> Iterator[LoopTime]:
    find = _suite("adapter.find")
    session = _suite("adapter.session").AdapterSession(
        find.prepare_adapter(adapter), timeout=ANSWER_SECONDS, env=find.variables_of(adapter)
    )
    try:
        connection = session.connection()
        clock = cpu_clock(connection.process.pid)

        def call(instance: str, loop: str, rounds: int) -> float:
            started = clock()
            answer = connection.ask("call", instance=instance, name=f"bench {loop}", args=[f"i32:{rounds}"])
            taken = clock() - started
            if answer["result"] != "ok":
                raise RuntimeFailedError(f"{adapter.name}, {instance}, {loop}: {answer}")
            return taken

        def time_layout(loop: str, modules: Sequence[NamedModule], count: int) -> tuple[float, ...]:
            watch()
            for module in modules:
                answer = connection.ask("instantiate", instance=module.name, module=module.data.hex())
                if answer["result"] != "ok":
                    raise RuntimeFailedError(f"{adapter.name} refuses {module.name}: {answer}")
            turns = [partial(call, module.name, loop) for module in modules]
            return tuple(_time_loop(turns, FIXED_ROUNDS.get(loop), count))

        for loop in LOOPS:
            versions, count = [modules], TURNS
            if adapter.name in COMPILERS and loop in PREPENDED:
                count = TURNS_PER_LAYOUT
                versions = [
                    [with_layout(each, loop, number) for each in modules] for number in range(LAYOUTS)
                ]
            yield LoopTime(
                runtime=adapter.name,
                loop=loop,
                modules=tuple(module.name for module in modules),
                layouts=tuple(time_layout(loop, each, count) for each in versions),
            )
    finally:
        session.close()


def _time_loop(turns: Sequence[Turn], fixed: int | None = None, count: int = TURNS) -> Iterator[float]:
    """Yield nanoseconds per round of each turn, what a call without rounds takes left out.

    The next call's `reset` counts with the rounds: some kernels clear there what others clear in `alloc`.
    """
    rounds = [_find_rounds(turn, fixed) for turn in turns]
    taken: list[list[float]] = [[] for _ in turns]
    idle: list[list[float]] = [[] for _ in turns]
    for _ in range(count):
        for number, turn in enumerate(turns):
            taken[number].append(turn(rounds[number]) + turn(0))
            idle[number].append(turn(0))
    for number, each in enumerate(rounds):
        yield 1e9 * max(min(taken[number]) - 2 * min(idle[number]), 0.0) / each


def _find_rounds(turn: Turn, fixed: int | None) -> int:
    """Return how many rounds take long enough to be timed; what compiles late has compiled by then."""
    rounds, warm = fixed or FIRST_ROUNDS, 0.0
    for _ in range(MOST_CALLS):
        taken = turn(rounds)
        warm += taken
        is_long = fixed is not None or taken >= LEAST_SECONDS
        if is_long and warm >= WARM_SECONDS:
            break
        rounds *= 1 if is_long else 2
    return rounds


def cpu_clock(process: int) -> Callable[[], float]:
    """Return a clock of the CPU time of another process, in seconds; where there is none, of the time.

    The number of that clock is what `clock_getcpuclockid` (POSIX) makes on Linux.
    """
    if not sys.platform.startswith("linux"):
        return time.perf_counter
    clock = ~process << 3 | CPU_CLOCK
    return lambda: time.clock_gettime(clock)


def render_runtimes(times: Sequence[LoopTime], lacking: Sequence[str], *, date: str) -> str:
    """Return the text of RUNTIMES.md; the first kernel is set beside the second and the empty calls."""
    first, second = times[0].modules[:2]
    lines = [
        f"| runtime | loop | {first} | {second} | {EMPTY} | {first} : {second} | {first} : {EMPTY} |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in times:
        ours, theirs, empty = each.nanoseconds
        cells = (*(f"{value:,.1f}" for value in each.nanoseconds), _ratio(ours, theirs), _ratio(ours, empty))
        lines.append(f"| {each.runtime} | {each.loop} | {' | '.join(cells)} |")
    return "\n".join(
        [PREFACE.replace("{machine}", _machine()).replace("{date}", date), "", *lines]
        + (["", "Not there, so not timed:", "", *(f"- {each}" for each in lacking)] if lacking else [])
    )


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


PREFACE = """\
# The kernel on compilers and interpreters

Made by `python -m build_tools bench --runtimes --against upstream --markdown` on {date},
{machine}. Figures are nanoseconds of CPU time for a round of a loop, the least of fifteen
turns in which the kernels alternate; they depend on the machine, and only the ratios are of use. A ratio
below 1 says that this kernel is faster. *Empty call* is the same loop on a module whose exports do nothing:
what no kernel can save.

The loop stands in the kernel's own module, so its calls are direct; a guest's go from one instance to
another. *copy* is `store_u64` of what `input_load_u64` returns. *alloc and free* is
of 64 bytes, 1,000 times after `reset`, and *fill* is 10,000 blocks of 64 bytes, which live, in memory that
has grown before. The `reset` after a loop counts with it: upstream clears there, this kernel in `alloc`. The
kernel's state lies in globals that the linker's relocations place (`build_tools/kernel/lower.py`), upstream's
in memory.

Node 20 has V8 11.3, Deno 2.9 has V8 15.0. The newer one compiles a function into the loop, the older one
calls it in each round. On some processors that call takes 3 or 7 ns, by how many instructions lie between
the push and the pop of the function's frame, whatever they do: also if it only sets a global. That says
nothing of a kernel. So compilers run *store_u64* and *copy* in eight layouts, in which `store_u64` begins
with 0 to 7 steps of arithmetic on the value, five turns in each; of each kernel the least counts. `--json`
has all of them."""
