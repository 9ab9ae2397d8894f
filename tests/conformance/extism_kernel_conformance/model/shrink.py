"""Makes a program that shows a fault shorter, and its numbers plainer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extism_kernel_conformance.model.operations import Operation
    from extism_kernel_conformance.model.play import Broken, Players

MOST_SECONDS = 5.0
"""CPU time spent at most to make one program shorter."""


def shrink(players: Players, broken: Broken) -> Broken:
    """Return the shortest program found that shows the same fault, or the given one."""
    return _Shrinker(players, broken).run()


class _Shrinker:
    def __init__(self, players: Players, broken: Broken) -> None:
        self._players = players
        self._best = broken
        self._deadline = time.process_time() + MOST_SECONDS
        self._looks = True

    def run(self) -> Broken:
        program = self._best.program
        if not self._try(program, or_equal=True):
            self._looks = False
            if not self._try(program, or_equal=True):
                return self._best
        while self._drop() or self._simplify():
            pass
        return self._best

    def _try(self, program: Sequence[Operation], *, or_equal: bool = False) -> bool:
        """Keep a program if it shows the fault and is shorter, or no longer if that will do."""
        if time.process_time() > self._deadline:
            return False
        found = self._players.again(self._best.pages, program, looks=self._looks)
        if found is None or found.error.fault != self._best.error.fault:
            return False
        if len(found.program) < len(self._best.program) + or_equal:
            self._best = found
            return True
        return False

    def _drop(self) -> bool:
        """Leave out operations, many in a row at first."""
        count, has_dropped = max(1, len(self._best.program) // 2), False
        while count:
            start = len(self._best.program) - count
            while start >= 0:
                program = self._best.program
                if self._try((*program[:start], *program[start + count :])):
                    has_dropped = True
                start = min(start - count, len(self._best.program) - count) if count > 1 else start - 1
            count //= 2
        return has_dropped

    def _simplify(self) -> bool:
        """Round lengths down; a shorter number is a plainer one."""
        is_plainer = False
        for at, operation in enumerate(self._best.program):
            if at >= len(self._best.program) or operation.name != "alloc":
                continue
            for length in _plainer(operation.args[0]):
                changed = operation._replace(args=(length,))
                if self._try(
                    (*self._best.program[:at], changed, *self._best.program[at + 1 :]), or_equal=True
                ):
                    is_plainer = self._best.program[at : at + 1] == (changed,)
                    break
        return is_plainer


def _plainer(length: object) -> Iterator[int]:
    assert isinstance(length, int)
    for candidate in (16, 1000, 2000, *(length // unit * unit for unit in (10_000, 1000, 100, 16))):
        if 0 < candidate < length:
            yield candidate
