"""Threads, pools and asyncio at once: no tenant ever sees what is another's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from extism_kernel_pkg.host import (
    CompiledPlugin,
    CurrentPlugin,
    Plugin,
    PluginError,
    PluginPool,
    host_function,
)

from .conftest import request, wat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.host import PluginOptions

SECONDS = 10


def describe(error: BaseException) -> str:
    """Return an error with its causes and contexts, as a log would show them.

    The runtime's own error lists frames of the guest, which differ from call to call: it is left out
    unless it tells a secret of anybody.
    """
    text = f"{type(error).__name__}: {error}"
    link = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if type(link).__name__ == "CallEndedError" and "secret" not in str(link):
        link = None
    return text if link is None else f"{text} <- {describe(link)}"


class Ledger:
    """What each tenant got: outputs, and errors with all that hangs on them."""

    def __init__(self) -> None:
        self.seen: dict[str, Counter[str]] = {}
        self._end = time.monotonic() + SECONDS

    @property
    def is_open(self) -> bool:
        return time.monotonic() < self._end

    def note(self, tenant: str, text: str) -> None:
        self.seen.setdefault(tenant, Counter())[text] += 1

    @contextmanager
    def noting(self, tenant: str) -> Iterator[None]:
        try:
            yield
        except PluginError as error:
            self.note(tenant, describe(error))
        except asyncio.TimeoutError:
            self.note(tenant, "cancelled")

    def call(self, tenant: str, caller: Plugin | PluginPool, export: str, data: str) -> None:
        """Call in a thread."""
        while self.is_open:
            with self.noting(tenant):
                self.note(tenant, caller.call(export, data, host_context=tenant).decode())

    async def call_async(self, tenant: str, pool: PluginPool, export: str, data: str) -> None:
        """Call in a task."""
        while self.is_open:
            with self.noting(tenant):
                self.note(tenant, (await pool.call_async(export, data, host_context=tenant)).decode())

    async def cancel(self, tenant: str, pool: PluginPool) -> None:
        """Cancel endless calls in a pool that others use for short ones."""
        while self.is_open:
            with self.noting(tenant):
                await asyncio.wait_for(pool.call_async("loop"), 0.02)
                self.note(tenant, "came back")

    def stop(self, plugin: Plugin) -> None:
        """Cancel from another thread."""
        while self.is_open:
            time.sleep(0.01)
            plugin.cancel()


def shouting(secret: str) -> PluginOptions:
    """Options with a function that fails with a secret of its own."""

    def shout(current: CurrentPlugin, text: str) -> str:
        raise LookupError(f"{secret} {text} {current.host_context}")

    return {"functions": [host_function(shout)]}


def asking(tenant: str) -> str:
    return request(f"http://{tenant}.test/?token=SECRET")


def denied(tenant: str) -> str:
    return f"HttpDeniedError: HTTP request to http://{tenant}.test/?token=SECRET is not allowed"


def shouted(tenant: str) -> str:
    cause = f"LookupError: {tenant} secret {tenant}"
    return f"HostFunctionError: host function failed: {cause} <- {cause}"


EXPECTED = {
    "denied": denied("denied"),
    "traps": "PluginTrapError: `trap` trapped: unreachable",
    "shouts": shouted("shouts"),
    "echoes": "secret of echoes",
    "hurried": "PluginTimeoutError: timeout: `loop` was stopped after 5 ms",
    "stopped": "PluginCancelledError: cancelled: `loop` was stopped by `cancel()`",
    "pool-fails": "GuestError: secret of pool-fails",
    "pool-echoes": "secret of pool-echoes",
    "pool-exits": "PluginExitError: `exit_7` returned non-zero exit code: 7",
    "pool-shouts": shouted("pool-shouts"),
    "task-fails": "GuestError: secret of task-fails",
    "task-echoes": "secret of task-echoes",
    "task-denied": denied("task-denied"),
    "task-cancelled": "cancelled",
    "task-fine": "fine",
}


def test_nothing_of_a_tenant_reaches_another() -> None:
    kit = CompiledPlugin({"wasm": [wat("kit")]})
    shout = CompiledPlugin({"wasm": [wat("shout")]})
    hostile = CompiledPlugin({"wasm": [wat("hostile")]})
    stopped, shared = Plugin(hostile), PluginPool(kit, size=2)
    ledger = Ledger()

    async def tasks() -> None:
        with PluginPool(kit, size=2) as one, PluginPool(hostile, size=2) as two:
            await asyncio.gather(
                ledger.call_async("task-fails", one, "fail", "secret of task-fails"),
                ledger.call_async("task-echoes", one, "echo", "secret of task-echoes"),
                ledger.call_async("task-denied", one, "http", asking("task-denied")),
                ledger.cancel("task-cancelled", two),
                ledger.call_async("task-fine", two, "fine", "fine"),
            )

    jobs: list[tuple[str, Plugin | PluginPool, str, str]] = [
        ("denied", Plugin(kit), "http", asking("denied")),
        ("traps", Plugin(kit), "trap", "secret of traps"),
        ("shouts", Plugin(shout, **shouting("shouts")), "shout", "secret"),
        ("echoes", Plugin(kit), "echo", "secret of echoes"),
        ("hurried", Plugin(hostile, timeout_ms=5), "loop", ""),
        ("stopped", stopped, "loop", ""),
        ("pool-fails", shared, "fail", "secret of pool-fails"),
        ("pool-echoes", shared, "echo", "secret of pool-echoes"),
        ("pool-exits", shared, "exit_7", "secret of pool-exits"),
        ("pool-shouts", PluginPool(shout, size=2, **shouting("pool-shouts")), "shout", "secret"),
    ]
    threads = [threading.Thread(target=ledger.call, args=job) for job in jobs]
    threads.append(threading.Thread(target=ledger.stop, args=(stopped,)))
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join()
    assert {tenant: set(seen) for tenant, seen in ledger.seen.items()} == {
        tenant: {text} for tenant, text in EXPECTED.items()
    }
