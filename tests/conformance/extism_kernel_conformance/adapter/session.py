"""One adapter through a whole run: started when needed, ended after a fault, started again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.connection import PROTOCOL, Connection, Fields
from extism_kernel_conformance.adapter.process import AdapterFault, AdapterProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from extism_kernel_conformance.adapter.answers import Answer

_MOST_FAILED_STARTS = 3
_START_SECONDS = 60.0
"""Least time for the greeting: a runtime that takes long to load is not a broken one."""


class AdapterSession:
    """Hands out a live connection; `restart` after a fault."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        trace: Callable[[str, Fields], None] | None = None,
    ) -> None:
        self.command = tuple(command)
        self.timeout = timeout
        self.trace = trace
        self.hello: Answer = {}
        self.starts = 0
        self._cwd = cwd
        self._env = env
        self._failed_starts = 0
        self._interrupted = threading.Event()
        self._connection: Connection | None = None

    def connection(self, timeout: float | None = None) -> Connection:
        """Return the live connection, starting the adapter if there is none; `timeout` is for the answers.

        Raises AdapterFault if it does not start or does not greet; after three such starts at once, every
        time.
        """
        connection = self._connection or self._start()
        connection.timeout = self.timeout if timeout is None else timeout
        return connection

    def abandon(self) -> str:
        """End the adapter after a fault; return the tail of what it logged."""
        connection, self._connection = self._connection, None
        if connection is None:
            return ""
        tail = connection.process.stderr_tail()
        connection.process.kill()
        return tail

    def interrupt(self) -> None:
        """End the adapter for good, from another thread than the one that uses the session."""
        self._interrupted.set()
        if (connection := self._connection) is not None:
            connection.process.interrupt()

    def close(self) -> int | None:
        """End the adapter's input; return its exit code, None if it had to be killed or was not running."""
        connection, self._connection = self._connection, None
        return None if connection is None else connection.process.close()

    def _start(self) -> Connection:
        if self._interrupted.is_set():
            raise AdapterFault("adapter-start", "the run was interrupted")
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise AdapterFault(
                "adapter-start", f"the adapter failed to start {_MOST_FAILED_STARTS} times in a row"
            )
        self._failed_starts += 1
        self.starts += 1
        process = AdapterProcess(self.command, cwd=self._cwd, env=self._env)
        connection = Connection(process, timeout=max(self.timeout, _START_SECONDS), trace=self.trace)
        self._connection = connection
        try:
            if self._interrupted.is_set():  # in the moment between
                process.interrupt()
            hello = _greet(connection)
        except AdapterFault as fault:
            self._connection = None
            tail = process.stderr_tail()
            process.kill()
            if tail and tail not in fault.message:
                fault.message = f"{fault.message}; it logged: {tail}"
            raise
        self.hello = hello
        self._failed_starts = 0
        return connection


def _greet(connection: Connection) -> Answer:
    hello = connection.ask("hello", protocol=PROTOCOL)
    if hello["result"] != "ok":
        raise AdapterFault("adapter-hello", f"`hello` was answered {hello['result']}")
    return hello
