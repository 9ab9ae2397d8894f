"""What the host costs beside PyPI's `extism`: `python -m build_tools campaign host-bench`.

Both hosts run in one process, by turns, on the same manifest, and CPU time is counted: the least of the
rounds, for what comes on top is the machine's affair. Memory and imports are measured in processes of
their own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasmtime import wat2wasm

from extism_kernel_pkg.host import CompiledPlugin, Plugin, host_function

from . import registries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMITS: dict[str, Any] = {"timeout_ms": 60_000, "memory": {"max_pages": 4096}}
TIMES = 1000
"""How often a guest repeats what is measured inside one call."""
GOALS = {
    "call, empty": 1.1,
    "call, 1 KiB": 1.3,
    "call, 1 MiB": 0.6,
    "call, 16 MiB": 0.6,
    "built-in host function": 3.0,
    "application's function": 1.0,
    "guest's alloc and free": 1.2,
    "plug-in from bytes": 1.2,
    "plug-in from compiled": 0.8,
    "memory of a plug-in": 60.0,
    "import beside bare Python": 100.0,
}
"""What is measured, and the most that its quotient may be; without a quotient, that ours may be."""

GUEST = f"""(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (import "extism:host/env" "config_get" (func $config (param i64) (result i64)))
  (import "extism:host/user" "shout" (func $shout (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $text (result i64) (local $h i64)
    (local.set $h (call $alloc (i64.const 8)))
    (call $store (local.get $h) (i64.const 0x6161616161616161))
    (local.get $h))
  (func (export "empty") (result i32) (i32.const 0))
  (func (export "echo") (result i32) (call $output (call $input) (call $length)) (i32.const 0))
  (func (export "alloc") (result i32) (local $n i32)
    (loop $next
      (call $free (call $alloc (i64.const 64)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {TIMES}))))
    (i32.const 0))
  (func (export "config") (result i32) (local $n i32)
    (loop $next
      (call $free (call $config (call $text)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {TIMES}))))
    (i32.const 0))
  (func (export "shout") (result i32) (local $n i32)
    (loop $next
      (call $free (call $shout (call $text)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {TIMES}))))
    (i32.const 0)))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured thing: ours and theirs in one unit, and the goal for their quotient or for ours."""

    name: str
    unit: str
    ours: float
    theirs: float | None

    @property
    def goal(self) -> float:
        return GOALS[self.name]

    @property
    def quotient(self) -> float | None:
        """Ours by theirs; None where the goal is a number of ours."""
        return self.ours / self.theirs if self.theirs and self.unit == "µs" else None

    @property
    def is_met(self) -> bool:
        return (self.ours if self.quotient is None else self.quotient) <= self.goal

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return name, ours, theirs, quotient, goal and verdict as text."""
        theirs = "" if self.theirs is None else f"{self.theirs:,.2f} {self.unit}"
        quotient = "" if self.quotient is None else f"{self.quotient:.2f}"
        verdict = "met" if self.is_met else "missed"
        return self.name, f"{self.ours:,.2f} {self.unit}", theirs, quotient, f"{self.goal:g}", verdict


def shout(text: str) -> str:
    """The application's function of both hosts."""
    return text.upper()


def measure(pairs: list[Callable[[], object]], *, rounds: int, times: int) -> list[float]:
    """Return the CPU time of each in microseconds: the least of the rounds, taken by turns."""
    best = [float("inf")] * len(pairs)
    for _ in range(rounds):
        for at, run in enumerate(pairs):
            begin = time.process_time_ns()
            for _ in range(times):
                run()
            best[at] = min(best[at], (time.process_time_ns() - begin) / times / 1000)
    return best


class Both:
    """The same plug-in on both hosts."""

    def __init__(self, extism: Any, limits: dict[str, Any]) -> None:  # noqa: ANN401 - a module without types
        self.extism = extism
        self.manifest = {"wasm": [{"data": wat2wasm(GUEST)}], "config": {"aaaaaaaa": "value"}, **limits}
        self.manifest["wasm"][0]["data"] = bytes(self.manifest["wasm"][0]["data"])
        self.our_functions = [host_function(shout)]
        self.their_functions = [extism.host_fn(name="shout", namespace="extism:host/user")(shout)]
        self.ours = Plugin(self.manifest, functions=self.our_functions)
        self.theirs = extism.Plugin(self.manifest, functions=self.their_functions)

    def calls(self, export: str, data: bytes = b"", *, rounds: int = 30, times: int = 100) -> list[float]:
        assert bytes(self.theirs.call(export, data)) == self.ours.call(export, data)
        return measure(
            [lambda: self.ours.call(export, data), lambda: self.theirs.call(export, data)],
            rounds=rounds,
            times=times,
        )

    def makings(self) -> Iterator[tuple[str, list[float]]]:
        """From bytes, and from what was compiled, each with a first call."""

        def our_making(source: object) -> None:
            with Plugin(source, functions=self.our_functions) as plugin:  # type: ignore[arg-type]
                plugin.call("empty")

        def their_making(source: object, functions: list[Any]) -> None:
            self.extism.Plugin(source, functions=functions).call("empty", b"")

        yield (
            "bytes",
            measure(
                [
                    lambda: our_making(self.manifest),
                    lambda: their_making(self.manifest, self.their_functions),
                ],
                rounds=20,
                times=5,
            ),
        )
        compiled = CompiledPlugin(self.manifest)
        their_compiled = self.extism.extism.CompiledPlugin(self.manifest, functions=self.their_functions)
        yield (
            "compiled",
            measure(
                [lambda: our_making(compiled), lambda: their_making(their_compiled, [])], rounds=20, times=20
            ),
        )


def rows(extism: Any, limits: dict[str, Any]) -> Iterator[Row]:  # noqa: ANN401 - a module without types
    both = Both(extism, limits)
    for name, size, rounds, times in (
        ("call, empty", 0, 40, 200),
        ("call, 1 KiB", 1 << 10, 40, 200),
        ("call, 1 MiB", 1 << 20, 30, 5),
        ("call, 16 MiB", 1 << 24, 20, 1),
    ):
        data = os.urandom(size)
        ours, theirs = both.calls("echo" if size else "empty", data, rounds=rounds, times=times)
        yield Row(name=name, unit="µs", ours=ours, theirs=theirs)
    for name, export in (
        ("built-in host function", "config"),
        ("application's function", "shout"),
        ("guest's alloc and free", "alloc"),
    ):
        ours, theirs = both.calls(export, rounds=15, times=3)
        yield Row(name=name, unit="µs", ours=ours / TIMES, theirs=theirs / TIMES)
    for name, (ours, theirs) in both.makings():
        yield Row(name=f"plug-in from {name}", unit="µs", ours=ours, theirs=theirs)


MEMORY = """
import os, sys
sys.path[:0] = [{root!r}, {sdk!r}]
from tests.host.bench import Both
import extism
both = Both(extism, {limits!r})
from extism_kernel_pkg.host import CompiledPlugin, Plugin
ours = lambda: Plugin(compiled, functions=both.our_functions)
theirs = lambda: extism.Plugin(compiled)
make, compiled = {{
    "ours": (ours, CompiledPlugin(both.manifest)),
    "theirs": (theirs, extism.extism.CompiledPlugin(both.manifest, functions=both.their_functions)),
}}[{which!r}]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
def some(count):
    plugins = [make() for _ in range(count)]
    for plugin in plugins:
        plugin.call("empty", b"")
    return plugins
kept = some(50)
before = resident()
kept += some(400)
print((resident() - before) / 400 / 1024)
"""


def memory(which: str, limits: dict[str, Any]) -> float:
    """Return the resident memory of one plug-in more, called once, in KiB."""
    code = MEMORY.format(root=os.getcwd(), sdk=str(registries.python_sdk()), which=which, limits=limits)  # noqa: PTH109
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_time(code: str) -> float:
    """Return the CPU time that a Python takes for this, in milliseconds: the least of several."""
    best = float("inf")
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000


def measure_all(limits: dict[str, Any]) -> Iterator[Row]:
    """Measure everything, in the order of `GOALS`."""
    sys.path.insert(0, str(registries.python_sdk()))
    yield from rows(importlib.import_module("extism"), limits)
    ours, theirs = memory("ours", limits), memory("theirs", limits)
    yield Row(name="memory of a plug-in", unit="KiB", ours=ours, theirs=theirs)
    imported = import_time("from extism_kernel_pkg.host import Plugin") - import_time("pass")
    yield Row(name="import beside bare Python", unit="ms", ours=imported, theirs=None)


def main() -> int:
    """Print the table; 1 if a goal is not met."""
    parser = argparse.ArgumentParser(prog="python -m build_tools campaign host-bench", description=__doc__)
    parser.add_argument("--no-limits", action="store_true", help="without `timeout_ms` and `max_pages`")
    limits = {} if parser.parse_args().no_limits else LIMITS
    are_met = True
    print(f"{'':28}{'ours':>12}{'extism':>12}{'quotient':>10}{'goal':>8}")
    for row in measure_all(limits):
        name, ours, theirs, quotient, goal, verdict = row.cells()
        print(f"{name:28}{ours:>12}{theirs:>12}{quotient:>10}{goal:>8}{verdict:>8}", flush=True)
        are_met &= row.is_met
    return int(not are_met)


if __name__ == "__main__":
    sys.exit(main())
