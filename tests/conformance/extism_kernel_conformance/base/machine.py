"""Names the machine that a report comes from: what kind it is, not whose."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> str:
    """Return system, processor and number of cores, such as `Linux x86_64, 2 cores of Example CPU 1.0`."""
    cores = os.cpu_count() or 1
    name = _processor()
    return f"{platform.system()} {platform.machine()}, {cores} cores" + (f" of {name}" if name else "")


def _processor() -> str:
    """Return the processor's name where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")
