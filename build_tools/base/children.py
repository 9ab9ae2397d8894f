"""The processes below this one, those included whose parent has ended. Linux only; elsewhere there are none.

A program that starts a session of its own escapes a process group. As a "child subreaper" (prctl(2)) this
process becomes the parent of every descendant whose own parent ends, so that none is lost from sight.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02
DEPTH = 64  # generations of processes that are killed one after the other


def adopt_orphans() -> bool:
    """Become the parent of descendants whose parent ends; return whether this system can do that."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        done: int = ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        return False
    return done == 0


def has_children() -> bool:
    """Say whether this process has any child, zombies included; far cheaper than to look for them."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def find_children(parent: int) -> dict[int, str]:
    """Return the running children of a process, each with its command line; zombies do not count."""
    found: dict[int, str] = {}
    if parent == os.getpid() and not has_children():
        return found
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while it is looked at
            state, its_parent = _read_stat(entry)
            if its_parent == parent and state not in "ZX":
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def _read_stat(entry: Path) -> tuple[str, int]:
    """Return state and parent of a process; the name before them, in brackets, may hold anything."""
    fields = (entry / "stat").read_bytes().rpartition(b")")[2].split(maxsplit=2)
    return fields[0].decode(), int(fields[1])


def end_children(pids: set[int], *, patience: float) -> dict[int, str]:
    """Kill those of our children in `pids` that do not end within `patience` seconds, and return them.

    What they started becomes ours when they end, and is killed too.
    """
    me = os.getpid()
    others = set(find_children(me)) - pids
    deadline = time.monotonic() + patience
    while (left := _select(pids)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    doomed = set(left)
    for _ in range(DEPTH):
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        doomed = set(find_children(me)) - others if left else set()
        if not doomed:
            break
    return left


def _select(pids: set[int]) -> dict[int, str]:
    return {pid: name for pid, name in find_children(os.getpid()).items() if pid in pids}
