"""`PluginPool`: a bounded number of plug-ins from one `CompiledPlugin`, each used by one caller at a time."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.compiled_plugin import CompiledPlugin
from extism_kernel_pkg.host.errors import PluginBusyError, PluginClosedError, PoolTimeoutError
from extism_kernel_pkg.host.plugin import Plugin
from extism_kernel_pkg.host.pooled import PooledPlugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from extism_kernel_pkg.host.options import PluginOptions
    from extism_kernel_pkg.host.sources import Source

_LOOK_AGAIN: Final = 0.1
"""Seconds after which a caller that waits looks by itself: a signal may have kept another from waking it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounters:
    """What a pool did until now, but for `in_use`, which is as it is now."""

    calls: int
    """Calls that its plug-ins began to serve."""
    waits: int
    """Callers that found no plug-in free."""
    timeouts: int
    """Callers that got none in the time they gave."""
    in_use: int
    made: int
    replaced: int
    """Plug-ins that could not be reset: closed by their user, or still busy when they were given back."""


class _Slot:
    """The place of one plug-in; free when nobody holds its last lease."""

    __slots__ = ("is_clean", "lease", "plugin")

    def __init__(self) -> None:
        self.plugin: Plugin | None = None
        self.is_clean = True
        self.lease: Callable[[], _Lease | None] = lambda: None


class _Lease:
    """The right of one caller to the plug-in of a slot; why it is no lock, `Plugin` says."""

    __slots__ = ("__weakref__", "slot")

    def __init__(self, slot: _Slot) -> None:
        self.slot = slot


class PluginPool:
    """At most `size` plug-ins with the same options, made when needed. Safe to share between threads.

    Each is reset before another caller gets it: a new instance, no vars, nothing of the last HTTP answer;
    connections are kept. One that cannot be reset is replaced. Raises what making a `Plugin` raises.
    """

    def __init__(
        self, source: Source | CompiledPlugin, *, size: int, **options: Unpack[PluginOptions]
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool of {size} plug-ins serves nobody; `size` is 1 or more")
        compiled = source if isinstance(source, CompiledPlugin) else CompiledPlugin(source)
        self._make: Callable[[], Plugin] = partial(Plugin, compiled, **options)
        self._lock = threading.Lock()
        self._slots = [_Slot() for _ in range(size)]
        self._slots[0].plugin = self._make()  # so that faults of options show here
        self._waiters: deque[Future[None]] = deque()
        self._is_closed = False
        self._calls_of_dropped = self._waits = self._timeouts = self._replaced = 0
        self._made = 1

    @property
    def counters(self) -> PoolCounters:
        """What the pool did until now."""
        with self._lock:
            plugins = [slot.plugin for slot in self._slots]
            return PoolCounters(
                calls=self._calls_of_dropped + sum(plugin.call_count for plugin in plugins if plugin),
                waits=self._waits,
                timeouts=self._timeouts,
                in_use=sum(slot.lease() is not None for slot in self._slots),
                made=self._made,
                replaced=self._replaced,
            )

    @contextmanager
    def acquire(self, timeout: float | None = None) -> Iterator[PooledPlugin]:
        """Give a plug-in to the block of a `with`, waiting for one that is free, at most `timeout` seconds.

        Raises `PoolTimeoutError`, or `PluginClosedError` if the pool is closed.
        """
        lease: _Lease | None = None
        try:
            lease = self._wait(timeout)
            with self._lent(lease.slot) as plugin:
                yield plugin
        finally:
            lease = None
            self._wake()

    @asynccontextmanager
    async def acquire_async(self, timeout: float | None = None) -> AsyncIterator[PooledPlugin]:
        """`acquire` for `async with`; who waits occupies no thread."""
        lease: _Lease | None = None
        try:
            lease = await self._wait_async(timeout)
            with self._lent(lease.slot) as plugin:
                yield plugin
        finally:
            lease = None
            self._wake()

    def call(
        self,
        name: str,
        data: bytes | str = b"",
        *,
        host_context: object = None,
        timeout: float | None = None,
    ) -> bytes:
        """Acquire a plug-in and call it, as `Plugin.call` does."""
        with self.acquire(timeout) as plugin:
            return plugin.call(name, data, host_context=host_context)

    async def call_async(
        self,
        name: str,
        data: bytes | str = b"",
        *,
        host_context: object = None,
        timeout: float | None = None,
    ) -> bytes:
        """Acquire a plug-in and call it, as `Plugin.call_async` does."""
        async with self.acquire_async(timeout) as plugin:
            return await plugin.call_async(name, data, host_context=host_context)

    def close(self) -> None:
        """Close the plug-ins, those in use when they are given back. Who waits gets `PluginClosedError`."""
        with self._lock:
            self._is_closed = True
            idle = [slot for slot in self._slots if slot.lease() is None]
            while self._waiters:
                self._waiters.popleft().set_result(None)
        for slot in idle:
            self._clean(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, waiter: Future[None]) -> _Lease | None:
        """Return a lease if a slot is free, else put `waiter` where `_wake` finds it."""
        with self._lock:
            if self._is_closed:
                raise PluginClosedError("the pool was closed")
            for slot in self._slots:
                if slot.lease() is None:
                    lease = _Lease(slot)
                    slot.lease = weakref.ref(lease)
                    return lease
            if waiter not in self._waiters and not waiter.done():
                self._waiters.append(waiter)
            return None

    def _wait(self, timeout: float | None) -> _Lease:
        end, waiter = _end_of(timeout), Future[None]()
        try:
            lease = self._take(waiter)
            if lease is None:
                self._count("_waits")
            while lease is None:
                with suppress(FutureTimeoutError):
                    waiter.result(self._left(end, timeout))
                    waiter = Future()
                lease = self._take(waiter)
        finally:
            self._leave(waiter)
        return lease

    async def _wait_async(self, timeout: float | None) -> _Lease:
        import asyncio  # noqa: PLC0415 - it takes longer to import than all the rest of the host

        end, waiter = _end_of(timeout), Future[None]()
        woken = asyncio.wrap_future(waiter)
        try:
            lease = self._take(waiter)
            if lease is None:
                self._count("_waits")
            while lease is None:
                await asyncio.wait({woken}, timeout=self._left(end, timeout))
                if woken.done():
                    waiter = Future()
                    woken = asyncio.wrap_future(waiter)
                lease = self._take(waiter)
        finally:
            self._leave(waiter)
        return lease

    def _left(self, end: float, timeout: float | None) -> float:
        """Return how long to wait now. Raises `PoolTimeoutError` if the time is over."""
        left = end - time.monotonic()
        if left <= 0:
            self._count("_timeouts")
            raise PoolTimeoutError(len(self._slots), timeout or 0)
        return min(left, _LOOK_AGAIN)

    def _leave(self, waiter: Future[None]) -> None:
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        """Let the first who waits look again; called whenever a lease may have ended."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().set_result(None)
        if self._is_closed:
            self.close()

    @contextmanager
    def _lent(self, slot: _Slot) -> Iterator[PooledPlugin]:
        """Make the slot's plug-in ready, lend it, and clean up after its user."""
        if not slot.is_clean:  # a signal came while it was cleaned
            self._clean(slot)
        if slot.plugin is None:
            slot.plugin = self._make()
            self._count("_made")
        lent = PooledPlugin(slot.plugin)
        try:
            slot.is_clean = False
            yield lent
        finally:
            self._clean(slot, is_in_use=lent.end())

    def _clean(self, slot: _Slot, *, is_in_use: bool = False) -> None:
        """Reset a slot's plug-in, or drop it if that is impossible."""
        plugin = slot.plugin
        if plugin is not None and not is_in_use and not self._is_closed:
            with suppress(PluginBusyError, PluginClosedError):
                plugin.reset(with_vars=True)
                slot.is_clean = True
                return
        slot.plugin, slot.is_clean = None, True
        if plugin is None:
            return
        with self._lock:
            self._calls_of_dropped += plugin.call_count
            self._replaced += not self._is_closed
        plugin.cancel()
        with suppress(PluginBusyError):  # it is freed when its call ends
            plugin.close()

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)


def _end_of(timeout: float | None) -> float:
    return inf if timeout is None else time.monotonic() + timeout
