"""Stopping a call from outside: deadlines, `cancel()`, and waking whatever the host waits for meanwhile."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


HEARTBEAT: Final = 0.1
"""Seconds between two looks at pending signals while a call runs in the main thread."""


class Reason(Enum):
    """Why a call was stopped."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"


class Cancellation:
    """A request to end one call, made before it begins or while it runs; no other call hears of it."""

    __slots__ = ("is_made",)

    def __init__(self) -> None:
        self.is_made = False


class InterruptedCallError(Exception):
    """The call was stopped while the host worked for the guest."""


class Watchdog:
    """One thread that looks at all running calls of the process whenever the first of them is due.

    It starts with the first call that has a time limit or runs in the main thread, and never blocks exit.
    A call whose due time is later than the next look costs nothing but its entry.
    """

    def __init__(self) -> None:
        self._forget_thread()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_thread)

    def _forget_thread(self) -> None:
        """Begin anew: a forked child inherits the state of the locks, but not the thread."""
        self._starting = threading.Lock()
        self._woken = threading.Event()
        self._running: set[Interrupter] = set()
        self._next_look = inf
        self._thread: threading.Thread | None = None

    def watch(self, interrupter: Interrupter, due: float) -> None:
        """Look at a call from now on, first when `time.monotonic()` reaches `due`."""
        self._running.add(interrupter)
        if due < self._next_look:
            self._woken.set()
            if self._thread is None:
                with self._starting:
                    if self._thread is None:
                        self._thread = threading.Thread(target=self._run, name="extism-watchdog", daemon=True)
                        self._thread.start()

    def forget(self, interrupter: Interrupter) -> None:
        """End what `watch` began; harmless if it did not."""
        self._running.discard(interrupter)

    def _run(self) -> None:
        was_busy = False
        while True:
            self._woken.clear()
            self._next_look = inf  # whoever comes during the look below wakes us once more
            now = time.monotonic()
            running = tuple(self._running)
            due = min((interrupter.look(now) for interrupter in running), default=inf)
            if was_busy and not running:
                due = now + HEARTBEAT  # between two calls: one look more is cheaper than to be woken
            was_busy = bool(running)
            self._next_look = due
            self._woken.wait(None if due == inf else min(max(0.0, due - now), threading.TIMEOUT_MAX))


WATCHDOG = Watchdog()


class Interrupter:
    """Stops what one plug-in is doing, from any thread, with a reason; does nothing between calls.

    `interrupt_guest` must make running WebAssembly call `check` soon (here: a tick of the engine's epoch).
    While a call runs in the main thread, that happens at every heartbeat too, so that Python can run the
    handlers of signals: Ctrl-C. Code of the host that waits registers a way to be woken with `wait`.
    """

    def __init__(self, interrupt_guest: Callable[[], None]) -> None:
        self._interrupt_guest = interrupt_guest
        self._lock = threading.RLock()  # a signal handler may call `stop` while this thread holds it
        self._is_running = False
        self._can_stop = False
        self._has_heartbeat = False
        self._wakers: list[Callable[[], None]] = []
        self._deadline: float | None = None
        self._cancellation: Cancellation | None = None
        self.reason: Reason | None = None
        self.limit_ms: int | None = None

    def start(
        self, limit_ms: int | None, *, can_stop: bool = True, cancellation: Cancellation | None = None
    ) -> None:
        """Let the time limit count from now, and `stop` act if `can_stop`; `finish` ends it."""
        now = time.monotonic()
        deadline = None if limit_ms is None else now + limit_ms / 1000
        has_heartbeat = threading.current_thread() is threading.main_thread()
        with self._lock:
            self._is_running, self._can_stop, self.reason = True, can_stop, None
            self.limit_ms, self._deadline, self._has_heartbeat = limit_ms, deadline, has_heartbeat
            self._cancellation = cancellation
            if cancellation is not None and cancellation.is_made:
                self._stop_now(Reason.CANCEL)
        due = inf if deadline is None else deadline
        WATCHDOG.watch(self, min(due, now + HEARTBEAT) if has_heartbeat else due)

    def finish(self) -> None:
        """End what `start` began."""
        with self._lock:
            self._is_running = False
        WATCHDOG.forget(self)

    @contextmanager
    def running(self, limit_ms: int | None) -> Iterator[None]:
        """Let `stop` act, and let the time limit count, inside this block."""
        try:
            self.start(limit_ms)
            yield
        finally:
            self.finish()

    def stop(self, reason: Reason) -> bool:
        """Stop the running call; false if none runs. The first reason stays."""
        with self._lock:
            can_stop = self._is_running and self._can_stop
            if can_stop:
                self._stop_now(reason)
            return can_stop

    def cancel(self, cancellation: Cancellation) -> None:
        """Stop the call that was started with a cancellation, now or when it starts."""
        with self._lock:
            cancellation.is_made = True
            if self._cancellation is cancellation:
                self.stop(Reason.CANCEL)

    def look(self, now: float) -> float:
        """Stop the call if its time is over, or pass a heartbeat; return when to look again."""
        with self._lock:
            if not self._is_running:
                return inf
            due = inf if self._deadline is None else self._deadline
            if self.reason is not None or now >= due:
                self._stop_now(self.reason or Reason.TIMEOUT)
                return now + HEARTBEAT
            if not self._has_heartbeat:
                return due
            self._interrupt_guest()
            return min(due, now + HEARTBEAT)

    def _stop_now(self, reason: Reason) -> None:
        """Stop the call, and again at every heartbeat until it ends.

        The runtime does not notice an interrupt that comes while it is about to wait for the next one.
        """
        self.reason = self.reason or reason
        self._interrupt_guest()
        WATCHDOG.watch(self, time.monotonic() + HEARTBEAT)
        for wake in self._wakers:
            wake()

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0 and no more than a lock can wait, or None without a limit."""
        if self._deadline is None:
            return None
        return min(max(0.0, self._deadline - time.monotonic()), threading.TIMEOUT_MAX)

    @property
    def is_stopped(self) -> bool:
        """Whether the call was stopped or its time is over."""
        return self.reason is not None or self.remaining() == 0

    def check(self) -> None:
        """Raise `InterruptedCallError` if the call was stopped or its time is over."""
        if self.reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            with self._lock:
                self._stop_now(Reason.TIMEOUT)
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
        end = inf if seconds is None else time.monotonic() + seconds
        try:
            self.check()
            while not event.is_set() and (now := time.monotonic()) < end:
                # Not all at once: on Windows a wait cannot be interrupted.
                event.wait(min(HEARTBEAT, end - now))
                self.check()
            return event.is_set() and not woken.is_set()
        finally:
            with self._lock:
                self._wakers.remove(wake)
