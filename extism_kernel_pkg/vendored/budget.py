"""What looking into files may cost, so that no input uses much time, memory or disk."""

from __future__ import annotations

import time

SECONDS = 8.0
"""CPU time for a run, besides what the size of its input adds."""
SECONDS_PER_FILE = 4.0
"""CPU time for one file, besides what its size adds."""
SECONDS_PER_BYTE = 20 / (100 << 20)
UNPACKED = 256 << 20
"""Bytes that may be unpacked from one file, besides `UNPACKED_PER_BYTE` for each byte of it."""
UNPACKED_PER_BYTE = 8
DEPTH = 100
"""Archives inside archives."""
KERNELS_PER_FILE = 1000
SKIPPED_PER_FILE = 100


class UnreadableError(Exception):
    """Something could not be looked into; the text says why."""


class BudgetError(UnreadableError):
    """Nothing more of a file may be looked into."""


class Budget:
    """Counts the CPU time of a run, and the bytes unpacked from one file at a time."""

    def __init__(self) -> None:
        self._left = SECONDS
        self._began = self._end = time.process_time()
        self._bytes = 0

    def begin(self, size: int) -> None:
        """Start with the next file, of `size` bytes."""
        self._left += size * SECONDS_PER_BYTE
        self._began = time.process_time()
        self._end = self._began + min(self._left, SECONDS_PER_FILE + size * SECONDS_PER_BYTE)
        self._bytes = UNPACKED + UNPACKED_PER_BYTE * size

    def finish(self) -> None:
        """Take what the file has cost from what is left."""
        self._left -= time.process_time() - self._began

    def check(self) -> None:
        """Raise `BudgetError` if the file's time is up."""
        if time.process_time() > self._end:
            raise BudgetError("the rest would take too long: the time for a file of this size is used up")

    def spend(self, count: int) -> None:
        """Count unpacked bytes. Raises `BudgetError` if they are too many, or the time is up."""
        self._bytes -= count
        if self._bytes < 0:
            raise BudgetError("the rest would be too much: it unpacks to far more than its own size")
        self.check()
