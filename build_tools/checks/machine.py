"""How much slower this machine is, just now, than the one that the time limits were chosen on."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass

FACTOR_VARIABLE = "EXTISM_KERNEL_TIME_FACTOR"
ROUNDS = 3
WORK = 200_000
# CPU seconds that the work below took on the machine of reference.
REFERENCE_SECONDS = 0.037
LARGEST = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was measured: processors that may be used, their speed (1 is the reference), and the load."""

    processors: int
    speed: float
    load: float

    @property
    def factor(self) -> float:
        """What time limits are multiplied by: at least 1, at most `LARGEST`."""
        crowd = 1 + self.load / self.processors
        return round(min(max(crowd / self.speed, 1.0), LARGEST), 1)

    def describe(self) -> str:
        """Return one line for people."""
        return (
            f"{self.processors} processor(s) at {self.speed:.1f} times the speed of reference, "
            f"load {self.load:.1f}: time limits are multiplied by {self.factor:.1f}"
        )


def calibrate() -> Machine:
    """Measure this machine: about a quarter of a second of CPU time."""
    best = min(_measure() for _ in range(ROUNDS))
    try:
        load = os.getloadavg()[0]
    except OSError:
        load = 0.0
    return Machine(processors=count_processors(), speed=REFERENCE_SECONDS / best, load=load)


def count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure() -> float:
    started = time.process_time()
    digest = b""
    total = 0
    for number in range(WORK):
        total += number * number % 7
        if number % 1000 == 0:
            digest = hashlib.sha256(digest + b"%d" % total).digest()
    return max(time.process_time() - started, 1e-3)
