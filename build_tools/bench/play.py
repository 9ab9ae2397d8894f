"""Plays a trace on a module, and counts fuel, bytes cleared or copied, and pages of memory."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wasmtime

from build_tools.base.errors import ModuleMalformedError
from build_tools.bench.bulk import BYTES, CALLS, EXTRA_FUEL, count_bulk
from build_tools.bench.metered import PAGE_BYTES, NamedModule

if TYPE_CHECKING:
    from build_tools.bench.traces import Operations, Trace

FUEL = 1 << 62
BUDGET = 2_000_000_000
"""Fuel after which a trace is given up: seconds of a machine's time."""
STRETCH = 256
"""Units that are counted at once where a trace has many; the most expensive are then looked at one by one."""
SINGLY = 2_000
CLOSELY = 8
OPERATION_BYTES, HANDLE_BYTES = 8, 8
PLAYER = """
(module
  (import "module" "alloc" (func $alloc (param i64) (result i64)))
  (import "module" "free" (func $free (param i64)))
  (memory (export "memory") {pages})
  (func (export "play") (param $at i32) (param $end i32) (param $handles i32) (result i32)
    (local $slot i32) (local $handle i64)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (local.set $slot
          (i32.add (local.get $handles) (i32.shl (i32.load (local.get $at)) (i32.const 3))))
        (if (i32.eq (i32.load offset=4 (local.get $at)) (i32.const -1))
          (then (call $free (i64.load (local.get $slot))))
          (else
            (local.set $handle (call $alloc (i64.load32_u offset=4 (local.get $at))))
            (br_if $done (i64.eqz (local.get $handle)))
            (i64.store (local.get $slot) (local.get $handle))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $next)))
    (local.get $at)))
"""
"""Returns where it ended: at `end`, or at the `alloc` that was refused."""
PLAY_FUEL, ALLOC_FUEL, FREE_FUEL = 6, 31, 24
"""What the player itself takes: for a call of `play`, and for each `alloc` and `free`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What one module did with one trace.

    `mean` and `most` are instructions per unit, over `units` units; `pages` is the memory in the end. `end`
    says why it ended early: memory was refused, a call trapped, or the budget of instructions was used up.
    """

    trace: str
    units: int
    mean: float
    most: float
    pages: int
    end: str | None = None


class _Player:
    """A fresh instance of a module, and the operations of a trace."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, operations: Operations) -> None:
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(FUEL)
        self.operations = operations
        self.handles = len(operations) * OPERATION_BYTES
        size = self.handles + (operations.slots + 1) * HANDLE_BYTES
        text = PLAYER.replace("{pages}", str(-(-size // PAGE_BYTES)))
        instance = wasmtime.Instance(self.store, module, [])
        linker = wasmtime.Linker(engine)
        linker.define_instance(self.store, "module", instance)
        player = linker.instantiate(self.store, wasmtime.Module(engine, bytes(wasmtime.wat2wasm(text))))
        self.exports = instance.exports(self.store)
        own = player.exports(self.store)
        play, memory = own["play"], own["memory"]
        if not isinstance(play, wasmtime.Func) or not isinstance(memory, wasmtime.Memory):
            raise TypeError("the player's exports are a function and a memory")
        memory.write(self.store, operations.data.tobytes())
        self.play = play
        reset = self.exports.get("reset")
        if isinstance(reset, wasmtime.Func):
            reset(self.store)  # as hosts begin; some kernels set up their memory in their first call

    def run(self, start: int, end: int) -> tuple[int, int]:
        """Play operations; return the module's fuel, and what it cleared or copied, in bytes.

        Raises EndedError if memory was refused, or if a call trapped.
        """
        bulk, calls = self._global(BYTES), self._global(CALLS)
        self.store.set_fuel(FUEL)
        try:
            at = self.play(self.store, start * OPERATION_BYTES, end * OPERATION_BYTES, self.handles)
        except wasmtime.Trap as trap:
            raise EndedError(trap.message.strip().splitlines()[-1]) from None
        fuel = FUEL - self.store.get_fuel()
        if at != end * OPERATION_BYTES:
            raise EndedError(f"block {at // OPERATION_BYTES:,} was refused")
        frees = self.operations.count_frees(start, end)
        fuel -= PLAY_FUEL + FREE_FUEL * frees + ALLOC_FUEL * (end - start - frees)
        fuel -= EXTRA_FUEL * (self._global(CALLS) - calls)
        return fuel, self._global(BYTES) - bulk

    def pages(self) -> int:
        """Return the size of the module's memory, in pages."""
        memory = self.exports["memory"]
        return memory.size(self.store) if isinstance(memory, wasmtime.Memory) else 0

    def _global(self, name: str) -> int:
        value = self.exports[name]
        return int(value.value(self.store)) if isinstance(value, wasmtime.Global) else 0


class EndedError(Exception):
    """A trace ended early."""


def play_trace(module: NamedModule, trace: Trace, budget: int = BUDGET) -> Played:
    """Play a trace on a module. Raises ModuleMalformedError for a module that no trace can be played on."""
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    operations = trace.operations()
    try:
        compiled = wasmtime.Module(engine, count_bulk(module.data))
        player = _Player(engine, compiled, operations)
    except wasmtime.WasmtimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModuleMalformedError(f"cannot be played on: {reason}", where=module.name) from None
    units = (len(operations) - operations.counted_from) // trace.calls_per_unit
    step = trace.calls_per_unit * (1 if units <= SINGLY else STRETCH)
    total, ended, counted = 0.0, None, 0
    stretches: list[tuple[float, int]] = []
    try:
        spent = _lead(player, operations.counted_from, budget)
        for start in range(operations.counted_from, len(operations), step):
            end = min(start + step, len(operations))
            fuel, bulk = player.run(start, end)
            cost = fuel - bulk * (1 - 1 / trace.bulk)
            stretches.append((cost, start))
            total, spent, counted = total + cost, spent + fuel, counted + end - start
            if spent > budget:
                raise EndedError(f"more than {budget:,} instructions after {end:,} calls")  # noqa: TRY301
    except EndedError as error:
        ended = str(error)
    pages = player.pages()
    done = counted // trace.calls_per_unit
    if units <= SINGLY or ended is not None:
        most = max((cost for cost, _ in stretches), default=0.0) if units <= SINGLY else 0.0
    else:
        closely = [start for _, start in heapq.nlargest(CLOSELY, stretches)]
        most = _find_most(_Player(engine, compiled, operations), trace, sorted(closely), step)
    return Played(
        trace=trace.name, units=done, mean=total / done if done else 0.0, most=most, pages=pages, end=ended
    )


def _lead(player: _Player, end: int, budget: int) -> int:
    """Play what only leads to the state that a trace is about, and return its fuel."""
    spent = 0
    for start in range(0, end, STRETCH):
        spent += player.run(start, min(start + STRETCH, end))[0]
        if spent > budget:
            raise EndedError(f"more than {budget:,} instructions before the first call that counts")
    return spent


def _find_most(player: _Player, trace: Trace, starts: list[int], step: int) -> float:
    """Return the most expensive unit of some stretches, each unit counted by itself."""
    most, at = 0.0, 0
    for start in starts:
        player.run(at, start)
        at = min(start + step, len(player.operations))
        for first in range(start, at, trace.calls_per_unit):
            fuel, bulk = player.run(first, first + trace.calls_per_unit)
            most = max(most, fuel - bulk * (1 - 1 / trace.bulk))
    return most
