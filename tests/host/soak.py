"""Does the host stay as it is? `python -m build_tools campaign host-soak`.

Many calls, plug-ins, cancels, time limits, uses of a pool and awaited calls, each in one process, with the
right next call, and with memory and threads as flat at the end as they were after a tenth of it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg.host import (
    CompiledPlugin,
    Plugin,
    PluginCancelledError,
    PluginError,
    PluginPool,
    PluginTimeoutError,
)

from .conftest import wat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTS = {
    "calls": 100_000,
    "plugins": 5_000,
    "cancels": 1_000,
    "limits": 1_000,
    "uses": 5_000,
    "awaited": 2_000,
}
"""How often each is done, by the name of its option."""
MAX_GROWTH = 8 * 2**20
"""Bytes of resident memory that may come after the first tenth: what allocators keep for later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one kind of use went."""

    name: str
    count: int
    seconds: float
    growth: int
    """Bytes of resident memory."""
    threads: int

    @property
    def is_flat(self) -> bool:
        return self.growth <= MAX_GROWTH and self.threads <= 0

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return name, times, seconds, memory, threads and verdict as text."""
        growth, verdict = f"{self.growth / 1024:+,.0f} KiB", "flat" if self.is_flat else "grows"
        return self.name, f"{self.count:,}", f"{self.seconds:.1f}", growth, f"{self.threads:+}", verdict


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def observe(name: str, count: int, run: Callable[[int], None]) -> Course:
    """Run a tenth of the times, then the rest, and compare what the process takes."""
    began = time.monotonic()
    run(max(1, count // 10))
    gc.collect()
    memory, threads = resident(), threading.active_count()
    run(count - max(1, count // 10))
    gc.collect()
    return Course(
        name=name,
        count=count,
        seconds=time.monotonic() - began,
        growth=resident() - memory,
        threads=threading.active_count() - threads,
    )


def check(plugin: Plugin, i: int) -> None:
    """Make the next call, which must be right whatever came before."""
    data = b"%d" % i
    answer = plugin.call("fine", data)
    assert answer == data, (answer, data)


def check_patiently(plugin: Plugin, i: int) -> None:
    """Make the next call within a millisecond, which a good call, too, exceeds on a busy machine."""
    for _ in range(100):
        with suppress(PluginTimeoutError):
            check(plugin, i)
            return
    raise AssertionError("no call was in time")


def loop(plugin: Plugin, end: type[PluginError]) -> None:
    """Make an endless call, which must end in one way."""
    try:
        plugin.call("loop")
    except end:
        return
    raise AssertionError("an endless call came back")


def calls(plugin: Plugin, count: int) -> None:
    for i in range(count):
        check(plugin, i)


def plugins(compiled: CompiledPlugin, count: int) -> None:
    """Make and call plug-ins, of which every other one is left to the garbage collector."""
    for i in range(count):
        plugin = Plugin(compiled)
        check(plugin, i)
        if i % 2:
            plugin.close()


def alive(compiled: CompiledPlugin, count: int) -> None:
    """Make and call plug-ins, of which a hundred live at the same time."""
    kept: deque[Plugin] = deque(maxlen=100)
    for i in range(count):
        kept.append(Plugin(compiled))
        check(kept[0], i)
        check(kept[-1], i)


def cancels(plugin: Plugin, count: int) -> None:
    """Cancel an endless call at ever other moments."""
    running, has_ended = threading.Semaphore(0), threading.Event()

    def cancel() -> None:
        for i in range(count):
            running.acquire()
            time.sleep(i % 10 / 5000)
            while not plugin.cancel() and not has_ended.wait(0.001):
                pass

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    for i in range(count):
        running.release()
        loop(plugin, PluginCancelledError)
        check(plugin, i)
    has_ended.set()
    thread.join()


def limits(plugin: Plugin, count: int) -> None:
    """Let an endless call run into its time limit."""
    for i in range(count):
        loop(plugin, PluginTimeoutError)
        check_patiently(plugin, i)


def uses(pool: PluginPool, count: int) -> None:
    """Use a pool from eight threads."""
    wrong: list[object] = []

    def work(me: int) -> None:
        for i in range(me, count, 8):
            data = b"%d" % i
            if pool.call("fine", data) != data:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def awaited(pool: PluginPool, count: int) -> None:
    """Await calls, of which every tenth is endless and cancelled."""

    async def use(i: int) -> None:
        data = b"%d" % i
        if i % 10 == 0:
            try:
                await asyncio.wait_for(pool.call_async("loop"), 0.002)
            except asyncio.TimeoutError:
                return
            raise AssertionError("an endless call came back")
        assert await pool.call_async("fine", data) == data

    async def main() -> None:
        for first in range(0, count, 50):
            await asyncio.gather(*map(use, range(first, min(first + 50, count))))

    asyncio.run(main())


def courses(counts: argparse.Namespace) -> Iterator[Course]:
    """Go through everything."""
    compiled = CompiledPlugin({"wasm": [wat("hostile")], "memory": {"max_pages": 64}})
    plugin, hurried = Plugin(compiled, timeout_ms=60_000), Plugin(compiled, timeout_ms=1)
    yield observe("calls", counts.calls, lambda count: calls(plugin, count))
    yield observe("plug-ins", counts.plugins, lambda count: plugins(compiled, count))
    yield observe("plug-ins, 100 alive", counts.plugins, lambda count: alive(compiled, count))
    yield observe("cancels", counts.cancels, lambda count: cancels(plugin, count))
    yield observe("time limits", counts.limits, lambda count: limits(hurried, count))
    with PluginPool(compiled, size=4, timeout_ms=60_000) as pool:
        yield observe("uses of a pool", counts.uses, lambda count: uses(pool, count))
        yield observe("awaited calls", counts.awaited, lambda count: awaited(pool, count))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if something is not flat."""
    parser = argparse.ArgumentParser(prog="python -m build_tools campaign host-soak", description=__doc__)
    for name, default in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}")
    are_flat = True
    print(f"{'':22}{'times':>9}{'seconds':>9}{'memory':>14}{'threads':>9}")
    for course in courses(parser.parse_args(arguments)):
        are_flat &= course.is_flat
        name, times, seconds, memory, threads, verdict = course.cells()
        print(f"{name:22}{times:>9}{seconds:>9}{memory:>14}{threads:>9}{verdict:>7}", flush=True)
    return int(not are_flat)


if __name__ == "__main__":
    sys.exit(main())
