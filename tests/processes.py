"""Processes that a test starts: how long it waits for them, and whether they still run, also without `ps`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PROC = Path("/proc")
# Set by `python -m build_tools test`.
FACTOR_VARIABLE = "EXTISM_KERNEL_TIME_FACTOR"


def patience(seconds: float) -> float:
    """Return a time limit as this machine needs it; all limits of a test are less than pytest's own."""
    return seconds * float(os.environ.get(FACTOR_VARIABLE, "1"))


def is_alive(pid: int) -> bool:
    """Say whether a process still runs; one that ended and that nobody waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if (PROC / "self" / "stat").is_file():
        try:
            # The name, in brackets, may hold anything; the state comes after it.
            state = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
    else:
        argv = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")
