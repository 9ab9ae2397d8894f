"""Calls from asyncio: each runs in one of a bounded number of threads, and ends when its task does."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_THREADS: Final = 64
"""How many calls run at once; those beyond wait for their turn. Time limits count from when a call begins."""

IDLE_SECONDS: Final = 10.0
"""How long a thread waits for the next call before it ends."""

CANCEL_SECONDS: Final = 1.0
"""How long a cancelled task waits for its call to end: guests end at once, Python code when it returns."""

Result = TypeVar("Result")


class WorkerThreads:
    """Threads that are started when there is work, and end when there is none.

    Unlike those of `concurrent.futures` they do not keep the process or an event loop from ending: what
    runs in them can be a function of the application, which nothing can stop.
    """

    def __init__(self, most: int, idle_seconds: float) -> None:
        self._most = most
        self._idle_seconds = idle_seconds
        self._forget_threads()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_threads)

    def _forget_threads(self) -> None:
        """Begin anew: a forked child inherits the numbers, but not the threads."""
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._alive = self._idle = 0

    def submit(self, run: Callable[[], Result]) -> Future[Result]:
        """Run a function in the next free thread. Raises `RuntimeError` if no thread can be started."""
        future: Future[Result] = Future()
        with self._changed:
            if len(self._jobs) >= self._idle and self._alive < self._most:
                self._alive += 1
                try:
                    threading.Thread(target=self._work, name="extism-call", daemon=True).start()
                except RuntimeError:
                    self._alive -= 1
                    if self._alive == 0:
                        raise
            self._jobs.append((future, run))
            self._changed.notify()
        return future

    def _work(self) -> None:
        self._be_idle()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs, self._idle_seconds)
                self._idle -= 1
                if not self._jobs:
                    self._alive -= 1
                    return
                future, run = self._jobs.popleft()
            if future.set_running_or_notify_cancel():
                tell = _run(future, run)
                self._be_idle()  # first, for whoever is told may have the next job
                tell()
                del tell
            else:
                self._be_idle()
            del future, run  # they hold on to a plug-in

    def _be_idle(self) -> None:
        with self._changed:
            self._idle += 1


def _run(future: Future[Result], run: Callable[[], Result]) -> Callable[[], None]:
    """Run a function; return what tells the future how it ended."""
    try:
        result = run()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
        return partial(future.set_exception, error)
    return partial(future.set_result, result)


WORKERS: Final = WorkerThreads(MAX_THREADS, IDLE_SECONDS)


async def run_in_thread(run: Callable[[], Result], cancel: Callable[[], None]) -> Result:
    """Run a function in a thread; if the task is cancelled, call `cancel`, which must make it return soon.

    The function sees the task's context variables.
    """
    job = WORKERS.submit(partial(contextvars.copy_context().run, run))
    future = asyncio.wrap_future(job)
    try:
        await asyncio.wait({future})
    except BaseException as error:
        if not job.cancel():
            cancel()
            future.add_done_callback(_retrieve)
            if isinstance(error, asyncio.CancelledError):
                await asyncio.wait({future}, timeout=CANCEL_SECONDS)
        raise
    return future.result()


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Take a result that nobody waits for any more, so that nothing is logged as overlooked."""
    if not future.cancelled():
        future.exception()
