"""What each export costs, counted in WebAssembly instructions (wasmtime's fuel), for one or more kernels.

Clauses C-1 to C-4 of kernel-src/CONTRACT.md. Fuel counts the bytes of a `memory.fill` or `memory.copy` too,
and one more for the call itself.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime

from build_tools.config import find_project
from build_tools.errors import FileMissingError
from build_tools.process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FUEL = 1 << 40
KIB = 1 << 10
MIB = 1 << 20
BLOCKS = 1000
UPSTREAM_MODULE = "github.com/extism/go-sdk"
UPSTREAM_VERSION = "v1.7.1"
UPSTREAM_FILE = "extism-runtime.wasm"
CYCLE_SIZES = (64 * KIB, MIB, 64 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Fuel of one kind of call; `most` is what clause C-2 or C-1 allows, or `None`."""

    call: str
    fuel: float
    most: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """The costs of one kernel, and its size in bytes."""

    kernel: str
    size: int
    costs: tuple[Cost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Seconds for one reset, alloc, write and read of `size` bytes, in steady state."""

    kernel: str
    size: int
    seconds: float


class MeteredKernel:
    """One instance of a kernel module whose calls are counted.

    `limit` is the most pages its memory may have; `None` means no limit.
    """

    def __init__(self, data: bytes, *, limit: int | None = None) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(engine)
        if limit is not None:
            self.store.set_limits(memory_size=limit * 64 * KIB)
        self.store.set_fuel(FUEL)
        instance = wasmtime.Instance(self.store, wasmtime.Module(engine, data), [])
        self._exports = instance.exports(self.store)
        memory = self._exports["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise TypeError("`memory` is not a memory")
        self.memory = memory
        self.fuel = 0

    def call(self, name: str, *arguments: int, fuel: int = FUEL) -> int:
        """Call an export with u64 arguments and return its result as u64, or 0 if it has none.

        `self.fuel` is then what it used. Raises `wasmtime.Trap`, also when `fuel` is used up.
        """
        function = self._exports[name]
        if not isinstance(function, wasmtime.Func):
            raise TypeError(f"`{name}` is not a function")
        self.store.set_fuel(fuel)
        try:
            result = function(self.store, *(_signed(argument) for argument in arguments))
        finally:
            self.fuel = fuel - self.store.get_fuel()
            self.store.set_fuel(FUEL)
        return 0 if result is None else result & (1 << 64) - 1

    def write(self, address: int, data: bytes) -> None:
        """Write into linear memory as a host does."""
        self.memory.write(self.store, data, address)

    def read(self, address: int, count: int) -> bytes:
        """Read from linear memory as a host does."""
        return bytes(self.memory.read(self.store, address, address + count))

    def pages(self) -> int:
        """Return the pages of linear memory."""
        return self.memory.size(self.store)

    def grow_by_others(self, pages: int) -> None:
        """Grow linear memory behind the kernel's back."""
        self.memory.grow(self.store, pages)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def measure_costs(name: str, data: bytes) -> CostTable:
    """Return the cost of each call of clause C-2, and of the worst cases of C-1 and C-3."""
    kernel = MeteredKernel(data)
    handles = []
    total = 0
    for _ in range(BLOCKS):
        handles.append(kernel.call("alloc", 64))
        total += kernel.fuel
    costs = [Cost(call="alloc, 64 bytes, fresh memory", fuel=total / BLOCKS, most=82)]
    block = handles[BLOCKS // 2]
    kernel.call("input_set", block, 64)

    def cost(label: str, most: float | None, export: str, *arguments: int) -> None:
        kernel.call(export, *arguments)
        costs.append(Cost(call=label, fuel=kernel.fuel, most=most))

    for export, most in (("load_u8", 21), ("load_u64", 24), ("input_load_u8", 26), ("input_load_u64", 28)):
        cost(export, most, export, 3 if export.startswith("input") else block)
    cost("store_u8", 18, "store_u8", block, 1)
    cost("store_u64", 21, "store_u64", block, 1)
    for export in ("input_offset", "input_length", "output_offset", "output_length", "error_get"):
        cost(export, 13, export)
    for export in ("length", "length_unsafe"):
        cost(export, 40, export, block)
    cost("length, interior", 2000, "length", block + 8)
    cost("length, nowhere", 2000, "length", 1 << 40)
    cost("output_set", 2000, "output_set", block, 64)
    cost("error_set", 2000, "error_set", block)
    for label, at in (("free", 10), ("free, right neighbour free", 9), ("free, left neighbour free", 11)):
        cost(label, 2000, "free", handles[at])
    cost("free, twice", 2000, "free", handles[9])
    cost("reset, 1,000 blocks", 5000, "reset")
    cost("alloc, 64 bytes, used memory", 2000, "alloc", 64)
    return CostTable(kernel=name, size=len(data), costs=tuple(costs))


def measure_cycles(name: str, data: bytes, *, sizes: Sequence[int] = CYCLE_SIZES) -> tuple[Cycle, ...]:
    """Return the wall time of the cycle of clause C-3, for each size: the best of a few rounds."""
    cycles = []
    for size in sizes:
        kernel = MeteredKernel(data)
        content = bytes(size)
        rounds = max(3, min(200, 32 * MIB // size))
        best = min(_time(lambda: _cycle(kernel, content)) for _ in range(rounds))  # noqa: B023 - called at once
        cycles.append(Cycle(kernel=name, size=size, seconds=best))
    return tuple(cycles)


def _cycle(kernel: MeteredKernel, content: bytes) -> None:
    kernel.call("reset")
    handle = kernel.call("alloc", len(content))
    kernel.write(handle, content)
    kernel.read(handle, len(content))


def _time(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def fetch_upstream(cwd: Path) -> bytes:
    """Return the kernel in use today, from the Go module that carries it, by way of Go's own cache.

    Raises `ToolNotFoundError` without Go and `ToolFailedError` without network.
    """
    argv = ["go", "mod", "download", "-json", f"{UPSTREAM_MODULE}@{UPSTREAM_VERSION}"]
    found = json.loads(run(argv, cwd=cwd, install="see https://go.dev/doc/install"))
    return (Path(found["Dir"]) / UPSTREAM_FILE).read_bytes()


def render_markdown(tables: Sequence[CostTable], cycles: Sequence[Cycle] = ()) -> str:
    """Return the tables side by side: one row for each call, one column for each kernel."""
    lines = ["| call | " + " | ".join(table.kernel for table in tables) + " | at most |"]
    lines.append("|---|" + "---:|" * (len(tables) + 1))
    for at, cost in enumerate(tables[0].costs):
        fuel = " | ".join(f"{table.costs[at].fuel:,.4g}" if table.costs[at].fuel < KIB else f"{table.costs[at].fuel:,.0f}" for table in tables)
        lines.append(f"| {cost.call} | {fuel} | {'' if cost.most is None else f'{cost.most:,}'} |")
    lines.append("| size in bytes | " + " | ".join(f"{table.size:,}" for table in tables) + " | 3,474 |")
    for size in sorted({cycle.size for cycle in cycles}):
        times = {cycle.kernel: f"{cycle.seconds * 1e6:,.0f} us" for cycle in cycles if cycle.size == size}
        cells = " | ".join(times.get(table.kernel, "") for table in tables)
        lines.append(f"| cycle of {size // KIB:,} KiB, wall time | {cells} | |")
    return "\n".join(lines)


def render_json(tables: Sequence[CostTable], cycles: Sequence[Cycle] = ()) -> str:
    """Return the same as JSON."""
    value: dict[str, Any] = {"tables": [asdict(table) for table in tables], "cycles": [asdict(cycle) for cycle in cycles]}
    return json.dumps(value, indent=2)


def main(arguments: Sequence[str]) -> int:
    """Measure the staged kernel, and others beside it; returns 1 if ours costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m build_tools bench", description=main.__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="the kernel to measure (default: the staged one)")
    parser.add_argument("--against", action="append", default=[], metavar="FILE|upstream", help="measure this one too")
    parser.add_argument("--wall", action="store_true", help="also time the cycle of clause C-3")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments)
    project = find_project()
    ours = args.file or project.root / "extism_kernel_pkg" / "extism-runtime.wasm"
    if not ours.is_file():
        raise FileMissingError(ours)
    kernels = {"ours": ours.read_bytes()}
    for other in args.against:
        kernels[other] = fetch_upstream(project.root) if other == "upstream" else Path(other).read_bytes()
    tables = [measure_costs(name, data) for name, data in kernels.items()]
    cycles = [cycle for name, data in kernels.items() for cycle in measure_cycles(name, data)] if args.wall else []
    print((render_json if args.json else render_markdown)(tables, cycles))
    is_over = any(cost.most is not None and cost.fuel > cost.most for cost in tables[0].costs)
    return int(is_over)
