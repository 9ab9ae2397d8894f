"""One adapter process: lines in, lines out, a deadline for every answer, an end that is always reached."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LONGEST_LINE = 4 * 1024 * 1024
"""Longest line either side may send, line end included; the runner cuts reads and writes to stay below."""

_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 1.0
"""How often a wait for an answer looks whether the process still runs."""


class AdapterFault(Exception):  # noqa: N818 - a fault of somebody else's program, no error of ours
    """The adapter broke the protocol; the kernel is not to blame."""

    verdict = "error"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class AdapterTimeout(AdapterFault):
    """No answer within the time allowed: the adapter hangs, or the kernel inside it does."""

    verdict = "timeout"


class AdapterCrash(AdapterFault):
    """The adapter's process ended while an answer was due."""

    verdict = "crash"


class AdapterProcess:
    """A running adapter. Two threads feed its pipes, so that neither side's full pipe can stop the runner."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.command = tuple(command)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            self._process = subprocess.Popen(
                self.command,
                cwd=cwd,
                env=None if env is None else {**os.environ, **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            self._log.close()
            raise AdapterFault("adapter-start", f"`{self.command[0]}` does not start: {error}") from error
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=target, daemon=True, name=f"{target.__name__} {self.command[0]}")
            for target in (self._read_lines, self._write_lines)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Queue one line; it never blocks, and a dead adapter shows when the answer is awaited."""
        self._out.put(line)

    def receive(self, timeout: float) -> bytes:
        """Return the next line without its end.

        Raises AdapterTimeout, AdapterCrash, or AdapterFault for a line that is too long.
        """
        line = self._next_line(timeout)
        if line is None:
            raise AdapterCrash("adapter-died", self._epitaph())
        if not line.endswith(b"\n"):
            if len(line) > LONGEST_LINE:
                raise AdapterFault("adapter-oversized", f"an answer is longer than {LONGEST_LINE} bytes")
            raise AdapterCrash("adapter-died", f"the last line has no end: {line[:60]!r}; {self._epitaph()}")
        return line.rstrip(b"\r\n")

    def _next_line(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while True:
            # Read before the wait: what the process wrote before its end has then come by the end of it.
            has_ended = self._process.poll() is not None
            left = deadline - time.monotonic()
            try:
                return self._lines.get(timeout=min(max(left, 0.0), _LOOK_SECONDS))
            except queue.Empty:
                if has_ended:  # a child that it left behind holds its output
                    return None
                if left <= _LOOK_SECONDS:
                    raise AdapterTimeout("adapter-timeout", f"no answer within {timeout:g} s") from None

    def close(self) -> int | None:
        """End the input, then the process; return its exit code, None if it had to be killed."""
        self._out.put(None)
        try:
            code: int | None = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        return code

    def kill(self) -> None:
        """End the process and its children at once."""
        self.interrupt()
        self._process.wait()
        self._out.put(None)
        # They close the pipes. A child that left the group may hold the other ends: nobody waits for it.
        for thread in self._threads:
            thread.join(_GRACE_SECONDS)
        self._log.close()

    def interrupt(self) -> None:
        """Let the process and its children end, from any thread: who awaits an answer gets AdapterCrash."""
        with contextlib.suppress(OSError):  # also if the process has ended: children may have outlived it
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def stderr_tail(self, lines: int = 8) -> str:
        """Return the last lines that the adapter logged."""
        if self._log.closed:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4096))
        text = self._log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _epitaph(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        code = self._process.poll()
        how = "closed its output" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"was ended by {signal.Signals(-code).name}"
        tail = self.stderr_tail(3)
        return f"the adapter {how}" + (f"; it said: {tail}" if tail else "")

    def _read_lines(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        with pipe, contextlib.suppress(OSError):
            while line := pipe.readline(LONGEST_LINE + 1):
                self._lines.put(line)
                if len(line) > LONGEST_LINE:
                    return
        self._lines.put(None)

    def _write_lines(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):  # a dead adapter is found by the reader
            while (line := self._out.get()) is not None:
                pipe.write(line)
                if self._out.empty():
                    pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()
