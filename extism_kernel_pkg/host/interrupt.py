"""Stopping a call from outside: deadlines, `cancel()`, and waking whatever the host waits for meanwhile."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_SLACK: Final = 1000
"""How many withdrawn actions the watchdog's queue may hold, beside those that wait."""


class Reason(Enum):
    """Why a call was stopped."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"


class InterruptedCallError(Exception):
    """The call was stopped while the host worked for the guest."""


class Watchdog:
    """One thread for all deadlines of the process; it starts with the first one and never blocks exit."""

    def __init__(self) -> None:
        self._forget_thread()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_thread)

    def _forget_thread(self) -> None:
        """Begin anew: a forked child inherits the state of the lock, but not the thread."""
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], None]] = {}
        self._tickets = itertools.count()
        self._thread: threading.Thread | None = None

    def arm(self, at: float, action: Callable[[], None]) -> int:
        """Run `action` once `time.monotonic()` reaches `at`; returns the ticket for `disarm`."""
        with self._changed:
            ticket = next(self._tickets)
            self._actions[ticket] = action
            heapq.heappush(self._queue, (at, ticket))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="extism-watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()
            return ticket

    def disarm(self, ticket: int) -> None:
        """Withdraw an action that has not run; harmless if it has."""
        with self._changed:
            self._actions.pop(ticket, None)
            if len(self._queue) > 2 * len(self._actions) + _SLACK:  # behind a call that takes long
                self._queue = [item for item in self._queue if item[1] in self._actions]
                heapq.heapify(self._queue)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._queue and self._queue[0][1] not in self._actions:
                    heapq.heappop(self._queue)
                if not self._queue:
                    self._changed.wait()
                    continue
                wait = self._queue[0][0] - time.monotonic()
                if wait > 0:
                    self._changed.wait(min(wait, threading.TIMEOUT_MAX))
                    continue
                action = self._actions.pop(heapq.heappop(self._queue)[1])
            action()


WATCHDOG = Watchdog()


class Interrupter:
    """Stops what one plug-in is doing, from any thread, with a reason; does nothing between calls.

    `interrupt_guest` must make running WebAssembly trap soon (here: a tick of the engine's epoch).
    Code of the host that waits registers a way to be woken with `waking`.
    """

    def __init__(self, interrupt_guest: Callable[[], None]) -> None:
        self._interrupt_guest = interrupt_guest
        self._lock = threading.Lock()
        self._is_running = False
        self._generation = 0
        self._wakers: list[Callable[[], None]] = []
        self._deadline: float | None = None
        self.reason: Reason | None = None
        self.limit_ms: int | None = None

    @contextmanager
    def running(self, limit_ms: int | None) -> Iterator[None]:
        """Let `stop` act, and let the time limit count, inside this block."""
        with self._lock:
            self._is_running, self.reason = True, None
            self._generation += 1
            generation = self._generation
            self.limit_ms = limit_ms
            self._deadline = None if limit_ms is None else time.monotonic() + limit_ms / 1000
        ticket = None
        if self._deadline is not None:
            ticket = WATCHDOG.arm(self._deadline, lambda: self._time_out(generation))
        try:
            yield
        finally:
            if ticket is not None:
                WATCHDOG.disarm(ticket)
            with self._lock:
                self._is_running = False

    def stop(self, reason: Reason) -> bool:
        """Stop the running call; false if none runs. The first reason stays."""
        with self._lock:
            if self._is_running:
                self._stop_now(reason)
            return self._is_running

    def _time_out(self, generation: int) -> None:
        """Stop the call that the watchdog was armed for, not one that began a moment ago."""
        with self._lock:
            if self._is_running and generation == self._generation:
                self._stop_now(Reason.TIMEOUT)

    def _stop_now(self, reason: Reason) -> None:
        self.reason = self.reason or reason
        self._interrupt_guest()
        for wake in self._wakers:
            wake()

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0 and no more than a lock can wait, or None without a limit."""
        if self._deadline is None:
            return None
        return min(max(0.0, self._deadline - time.monotonic()), threading.TIMEOUT_MAX)

    def check(self) -> None:
        """Raise `InterruptedCallError` if the call was stopped or its time is over."""
        if self.reason is None and self.remaining() == 0.0:
            self.stop(Reason.TIMEOUT)
        if self.reason is not None:
            raise InterruptedCallError

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """Wait for an event, but no longer than the call may last; true if the event came.

        Raises `InterruptedCallError` if the call is stopped meanwhile.
        """
        woken = threading.Event()

        def wake() -> None:
            event.set()
            woken.set()

        with self._lock:
            self._wakers.append(wake)
        try:
            self.check()
            limits = [limit for limit in (seconds, self.remaining()) if limit is not None]
            came = event.wait(min(limits) if limits else None)
            self.check()
            return came and not woken.is_set()
        finally:
            with self._lock:
                self._wakers.remove(wake)
