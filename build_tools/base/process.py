"""The one way to run another program."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from build_tools.base.errors import DiskFullError, ToolFailedError, ToolNotFoundError, ToolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
TIDY_SECONDS = 10.0
WATCH_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a program ended (`code`), after how many seconds, and the CPU time of it and its descendants."""

    code: int
    seconds: float
    cpu: float


def run(  # noqa: PLR0913 - each is an option of one subprocess; all but two have a default
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    hint: str | None = None,
    install: str | None = None,
    watch: Callable[[], None] | None = None,
) -> str:
    """Run one tool, log its command line, and return what it printed on stdout.

    `env` is added to our own environment. `timeout` is in seconds. `watch` is called a few times a second
    while the tool runs. Raises `ToolNotFoundError`, `ToolFailedError` (with the tail of what it said),
    `DiskFullError` if that is what it said, or `ToolTimeoutError`.
    """
    command = shlex.join(os.fspath(part) for part in argv)
    child = _start(argv, command, cwd=cwd, env=env, output=subprocess.PIPE, install=install)
    out, err = _finish(child, command, timeout, watch)
    if child.returncode != 0:
        _check_space(command, err or out)
        raise ToolFailedError(command, child.returncode, err or out, hint=hint)
    if err.strip():
        log.debug("%s", err.strip())
    return out


def run_through(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    install: str | None = None,
) -> int:
    """Run one tool with its output going straight to ours, and return its exit code."""
    command = shlex.join(os.fspath(part) for part in argv)
    child = _start(argv, command, cwd=cwd, env=env, output=None, install=install)
    try:
        child.wait()
    except BaseException:
        _interrupt(child)
        raise
    return child.returncode


def run_measured(  # noqa: PLR0913 - each is an option of one subprocess; all but two have a default
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
    timeout: float | None = None,
    watch: Callable[[], None] | None = None,
) -> Measured:
    """Run one tool, its output going to `output` or straight to ours, and return what it took.

    Nothing that it started in its process group is left. `watch` is called a few times a second; what it
    raises ends the tool. Raises `ToolNotFoundError`, or `ToolTimeoutError` after `timeout` seconds.
    """
    command = shlex.join(os.fspath(part) for part in argv)
    started = time.monotonic()
    child = _start(argv, command, cwd=cwd, env=env, output=output, install=None)
    try:
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            _check_time(command, started, timeout)
            if watch is not None:
                watch()
            time.sleep(WATCH_SECONDS / 4)
    except BaseException:
        _interrupt(child)
        raise
    child.returncode = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return Measured(
        code=child.returncode, seconds=time.monotonic() - started, cpu=usage.ru_utime + usage.ru_stime
    )


def _check_time(command: str, started: float, timeout: float | None) -> None:
    if timeout is not None and time.monotonic() - started > timeout:
        raise ToolTimeoutError(f"took longer than {timeout:.0f} s and was ended", where=command)


def _interrupt(child: subprocess.Popen[str]) -> None:
    """End a tool as Ctrl-C would: it may have children in groups of their own, which only it can end."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        child.send_signal(signal.SIGINT)
        child.wait(TIDY_SECONDS)
    end(child)


def _start(  # noqa: PLR0913 - private; mirrors `run`
    argv: Sequence[str | os.PathLike[str]],
    command: str,
    *,
    cwd: Path,
    env: Mapping[str, str] | None,
    output: int | IO[bytes] | None,
    install: str | None,
) -> subprocess.Popen[str]:
    log.debug("+ %s", command)
    try:
        return start_child(
            [os.fspath(part) for part in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output if output in {None, subprocess.PIPE} else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        name = os.fspath(argv[0])
        raise ToolNotFoundError(name, install=install or f"your system's package of {name}") from None
    except PermissionError:
        raise ToolFailedError(command, 126, "the file may not be executed") from None
    except OSError as error:
        raise ToolFailedError(command, 126, error.strerror or str(error)) from None


def start_child(argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as `Popen` has them
    """Start a program in a group of its own, so that an interrupted build can end the children of it too.

    An interrupt that comes meanwhile is raised when the program was ended: inside of `Popen` it would leave
    one that nobody knows. Raises what `subprocess.Popen` raises.
    """
    came: list[int] = []
    held = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):  # what is ignored stays ignored, in the child too
                held[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        child = subprocess.Popen(argv, text=True, start_new_session=True, **options)
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        end(child)
        signal.raise_signal(came[0])
    return child


def _finish(
    child: subprocess.Popen[str], command: str, timeout: float | None, watch: Callable[[], None] | None
) -> tuple[str, str]:
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            step = left if watch is None else WATCH_SECONDS if left is None else min(left, WATCH_SECONDS)
            try:
                out, err = child.communicate(timeout=step)
            except subprocess.TimeoutExpired:
                if deadline is not None and time.monotonic() >= deadline:
                    message = f"took longer than {timeout:.0f} s and was ended"
                    raise ToolTimeoutError(message, where=command) from None
                if watch is not None:
                    watch()
            else:
                return out or "", err or ""
    except BaseException:
        end(child)
        raise


def _check_space(command: str, said: str) -> None:
    """Raise `DiskFullError` if a tool failed because the disk is full, whatever else it printed."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        for line in said.splitlines():
            if os.strerror(number) in line:
                raise DiskFullError(line.strip(), where=command)


def end(child: subprocess.Popen[str]) -> None:
    """End a child and all that it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        break
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
