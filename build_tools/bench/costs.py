"""Counts what a kernel's exports cost, in the instructions that wasmtime's fuel counts.

Fuel is one for each instruction that runs and one for entering a function; `block`, `loop`, `else`, `end`,
`nop`, `drop`, `return` and `unreachable` are free. The bytes of `memory.fill` and `memory.copy` count one
each. The figure of a call is the difference of the store's fuel before and after it, nothing taken off, so it
is the same on every machine and in every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import ModuleMalformedError
from build_tools.base.files import sha256_of
from build_tools.bench.metered import CallFailedError, Workshop
from build_tools.bench.scenarios import SCENARIOS
from build_tools.proof.code import read_program
from build_tools.proof.paths import count_longest
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from build_tools.bench.metered import NamedModule
    from build_tools.bench.scenarios import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the calls of one scenario cost on one kernel, in fuel.

    `mean` and `most` are over `calls` calls. `failure` says why the scenario could not be finished (a trap,
    or no end within the fuel given); the figures are then those of the calls before.
    """

    scenario: str
    calls: int
    mean: float
    most: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """All that was counted on one kernel.

    `longest_path` is the most that any call can cost, in instructions; `None` where there is no such bound,
    or where the code has instructions that are not modelled.
    """

    name: str
    sha256: str
    size: int
    loops: int
    longest_path: int | None
    costs: tuple[Cost, ...]


TESTS_ALONE = "invariants.rs"
"""The file of `kernel-src/src` that no module has."""


def count_lines(kernel_src: Path) -> int:
    """Return how many lines of Rust a module is compiled from, comments and all, the tests' scan left out."""
    sources = (path for path in (kernel_src / "src").glob("*.rs") if path.name != TESTS_ALONE)
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sources)


def measure(kernel: NamedModule, scenarios: Iterable[Scenario] = SCENARIOS) -> Costs:
    """Return the cost of every scenario on a kernel. Raises ModuleMalformedError if it is none."""
    workshop = Workshop(kernel)
    costs = tuple(_measure_one(workshop, scenario) for scenario in scenarios)
    return Costs(
        name=kernel.name,
        sha256=sha256_of(kernel.data),
        size=len(kernel.data),
        loops=len(parse_module(kernel.data).code.loops),
        longest_path=_find_longest_path(kernel.data),
        costs=costs,
    )


def _find_longest_path(data: bytes) -> int | None:
    try:
        return max(count_longest(read_program(data)).values(), default=0)
    except ModuleMalformedError:  # a loop, a circle of calls, or an opcode that no kernel has
        return None


def _measure_one(workshop: Workshop, scenario: Scenario) -> Cost:
    fuels: list[int] = []
    failure = None
    try:
        for fuel in scenario.run(workshop.instantiate(pages=scenario.pages)):
            fuels.append(fuel)  # noqa: PERF402 - what was counted before a failure is kept
    except CallFailedError as error:
        failure = str(error)
    mean = sum(fuels) / len(fuels) if fuels else 0.0
    return Cost(
        scenario=scenario.name, calls=len(fuels), mean=mean, most=max(fuels, default=0), failure=failure
    )
