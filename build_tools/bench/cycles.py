"""Times a host's cycle (`reset`, `alloc`, write, read), which only has a meaning beside another kernel.

The kernels take turns in one run, so that whatever else the machine does falls on all of them. Only the ratio
of medians is of use; the times themselves are this machine's.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import wasmtime

from build_tools.base.errors import ModuleMalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from build_tools.bench.metered import NamedModule

KIBIBYTE = 1024
ROUNDS = {64 * KIBIBYTE: 50, KIBIBYTE * KIBIBYTE: 4, 64 * KIBIBYTE * KIBIBYTE: 1}
"""Bytes of a block, and how many cycles are timed at once: short turns, so that few are interrupted."""
MESSAGE = KIBIBYTE
"""Bytes that are written and read where a host does not use all of its block."""
ALONE = "host alone"
"""Named as the kernel of the cycles in which no kernel does anything: what they take, none can save."""
TURNS = 41
HOST = """
(module
  (import "kernel" "reset" (func $reset))
  (import "kernel" "alloc" (func $alloc (param i64) (result i64)))
  (import "kernel" "memory" (memory $kernel 0))
  (memory $host 1)
  (func (export "run") (param $length i32) (param $used i32) (param $rounds i32)
    (local $start i32) (local $at i32) (local $end i32) (local $piece i32)
    (local.set $piece (select (local.get $used) (i32.const 32768)
      (i32.lt_u (local.get $used) (i32.const 32768))))
    (loop $round
      (call $reset)
      (local.set $start (i32.wrap_i64 (call $alloc (i64.extend_i32_u (local.get $length)))))
      (local.set $end (i32.add (local.get $start) (local.get $used)))
      (local.set $at (local.get $start))
      (loop $write
        (memory.copy $kernel $host (local.get $at) (i32.const 0) (local.get $piece))
        (local.set $at (i32.add (local.get $at) (local.get $piece)))
        (br_if $write (i32.lt_u (local.get $at) (local.get $end))))
      (local.set $at (local.get $start))
      (loop $read
        (memory.copy $host $kernel (i32.const 32768) (local.get $at) (local.get $piece))
        (local.set $at (i32.add (local.get $at) (local.get $piece)))
        (br_if $read (i32.lt_u (local.get $at) (local.get $end))))
      (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
      (br_if $round (local.get $rounds)))))
"""
"""A host that copies in pieces of up to 32 KiB: a module, so that no binding's overhead is timed with it."""
NOTHING = """
(module
  (memory (export "memory") 1026)
  (func (export "reset"))
  (func (export "alloc") (param i64) (result i64) (i64.const 2048)))
"""
"""What a host is timed with alone: no kernel, which has memory for the longest block from the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """The median time of one cycle, in seconds; `used` is how many bytes are written and read in it."""

    kernel: str
    length: int
    used: int
    cycles: int
    median: float


def time_cycles(kernels: Sequence[NamedModule], rounds: dict[int, int] | None = None) -> tuple[Cycle, ...]:
    """Return cycles for each length and kernel: with all of the block in use, and with a message's bytes.

    The last of each are those of the host alone.

    Raises ModuleMalformedError for what is no kernel.
    """
    engine = wasmtime.Engine()
    modules = [(kernel.name, kernel.data) for kernel in kernels]
    modules.append((ALONE, bytes(wasmtime.wat2wasm(NOTHING))))
    cycles: list[Cycle] = []
    for length, count in (ROUNDS if rounds is None else rounds).items():
        for used in (length, MESSAGE):
            turns = [_prepare(engine, name, data, length, used) for name, data in modules]
            medians = _time(turns, count)
            cycles += [
                Cycle(kernel=name, length=length, used=used, cycles=count * TURNS, median=median)
                for (name, _), median in zip(modules, medians, strict=True)
            ]
    return tuple(cycles)


def _time(turns: Sequence[Callable[[int], None]], count: int) -> list[float]:
    for turn in turns:
        turn(count)  # memory grows and is touched for the first time here, not in the steady state
    times: list[list[float]] = [[] for _ in turns]
    for _ in range(TURNS):
        for taken, turn in zip(times, turns, strict=True):
            started = time.perf_counter()
            turn(count)
            taken.append((time.perf_counter() - started) / count)
    return [statistics.median(taken) for taken in times]


def _prepare(
    engine: wasmtime.Engine, name: str, data: bytes, length: int, used: int
) -> Callable[[int], None]:
    """Return a function that runs so many cycles."""
    store = wasmtime.Store(engine)
    linker = wasmtime.Linker(engine)
    try:
        module = wasmtime.Module(engine, data)
        linker.define_instance(store, "kernel", wasmtime.Instance(store, module, []))
        host = linker.instantiate(store, wasmtime.Module(engine, bytes(wasmtime.wat2wasm(HOST))))
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModuleMalformedError(f"is no kernel: {reason.strip()}", where=name) from None
    run = host.exports(store)["run"]
    if not isinstance(run, wasmtime.Func):
        raise TypeError("`run` of the host's module is a function")
    return lambda rounds: run(store, length, used, rounds)
