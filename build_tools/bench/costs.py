"""Counts what a kernel's exports cost, in the instructions that wasmtime's fuel counts.

Fuel is one for each instruction that runs and one for entering a function; `block`, `loop`, `else`, `end`,
`nop`, `drop`, `return` and `unreachable` are free. The bytes of `memory.fill` and `memory.copy` count one
each. The figure of a call is the difference of the store's fuel before and after it, nothing taken off, so it
is the same on every machine and in every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import wasmtime

from build_tools.base.errors import ModuleMalformedError
from build_tools.base.files import sha256_of
from build_tools.bench.scenarios import PLENTY, SCENARIOS, CallFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from build_tools.bench.scenarios import Scenario

PAGE_BYTES = 65_536
U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A finished module to be measured; `name` is what a person calls it."""

    name: str
    data: bytes


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
    """All that was counted on one kernel."""

    name: str
    sha256: str
    size: int
    costs: tuple[Cost, ...]


class Instance:
    """One instance with fuel, called by name. Results are unsigned."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, *, pages: int | None = None) -> None:
        self.store = wasmtime.Store(engine)
        if pages is not None:
            self.store.set_limits(memory_size=pages * PAGE_BYTES)
        self.store.set_fuel(PLENTY)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory = self.exports["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise ModuleMalformedError("`memory` is no memory", where="export section")
        self.memory = memory
        self._functions: dict[str, wasmtime.Func] = {}

    def call(self, name: str, *args: int) -> int:
        """Return what an export returns, 0 for nothing."""
        return self.count(name, *args)[0]

    def count(self, name: str, *args: int) -> tuple[int, int]:
        """Return what an export returns and the fuel that the call took. Raises CallFailedError."""
        function = self._functions.get(name) or self._find(name)
        self.store.set_fuel(PLENTY)
        try:
            value = function(self.store, *args)
        except wasmtime.Trap as trap:
            shown = ", ".join(map(str, args))
            is_endless = trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL
            reason = f"no end within {PLENTY:,} instructions" if is_endless else trap.message.splitlines()[-1]
            raise CallFailedError(f"{name}({shown}): {reason.strip()}") from None
        fuel = PLENTY - self.store.get_fuel()
        return (0 if value is None else int(value) & U64), fuel

    def _find(self, name: str) -> wasmtime.Func:
        function = self.exports.get(name)
        if not isinstance(function, wasmtime.Func):
            raise ModuleMalformedError(f"`{name}` is not exported as a function", where="export section")
        self._functions[name] = function
        return function


class Workshop:
    """Compiles a kernel once and makes instances of it."""

    def __init__(self, kernel: Kernel) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        self.engine = wasmtime.Engine(config)
        try:
            self.module = wasmtime.Module(self.engine, kernel.data)
        except wasmtime.WasmtimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModuleMalformedError(f"is no valid module: {reason}", where=kernel.name) from None
        if self.module.imports:
            raise ModuleMalformedError("imports something, so it is no kernel", where=kernel.name)

    def instantiate(self, *, pages: int | None = None) -> Instance:
        """Return a fresh instance, its memory limited to `pages` if given."""
        return Instance(self.engine, self.module, pages=pages)


def measure(kernel: Kernel, scenarios: Iterable[Scenario] = SCENARIOS) -> Costs:
    """Return the cost of every scenario on a kernel. Raises ModuleMalformedError if it is none."""
    workshop = Workshop(kernel)
    costs = tuple(_measure_one(workshop, scenario) for scenario in scenarios)
    return Costs(name=kernel.name, sha256=sha256_of(kernel.data), size=len(kernel.data), costs=costs)


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
