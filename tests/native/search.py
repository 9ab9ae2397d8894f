"""Plain random programs by the thousand, and the smallest one that fails."""

from __future__ import annotations

import random
import traceback
from typing import TYPE_CHECKING, TypeVar

from tests.integration.kernel_programs import make_operation, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.integration.kernel_model import Machine
    from tests.integration.kernel_programs import Program

    Make = Callable[[int], Machine]
    """Makes a fresh kernel whose memory may grow to so many pages."""

T = TypeVar("T")
LIMITS = (2, 3, 5, 64)


def make_program(seed: int, names: Sequence[str], length: int) -> Program:
    """Return the random program of a seed."""
    number = random.Random(seed).random  # noqa: S311 - nothing secret

    def choose(several: Sequence[T], /) -> T:
        return several[int(number() * len(several))]

    return [make_operation(choose, names) for _ in range(length)]


def judge(
    make: Make, seeds: Iterable[int], names: Sequence[str], *, length: int, limits: Sequence[int] = LIMITS
) -> int:
    """Run the program of every seed on a kernel of its own; return how many calls were judged.

    Raises AssertionError with the smallest part of the first program that fails.
    """
    bottom = make(2).call("alloc", 8)
    count = 0
    for seed in seeds:
        limit = limits[seed % len(limits)]

        def find_fault(program: Program, limit: int = limit) -> str | None:
            try:
                run_program(make(limit), program, limit=limit, bottom=bottom, scan_every=16)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                where = traceback.extract_tb(error.__traceback__)[-1]
                return f"{type(error).__name__}: {error} ({where.name}: `{where.line}`)"
            return None

        program = make_program(seed, names, length)
        if find_fault(program) is not None:
            smallest = shrink(program, lambda part: find_fault(part) is not None)
            lines = "\n".join(f"  {operation}," for operation in smallest)
            raise AssertionError(f"{find_fault(smallest)}\nseed {seed}, {limit} pages:\n{lines}")
        count += length
    return count


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Return a program that still fails, and does not if any one operation is taken out of it."""
    size = len(program)
    while size:
        at = 0
        while at < len(program):
            shorter = program[:at] + program[at + size :]
            if fails(shorter):
                program = shorter
            else:
                at += size
        size = size // 2 if size > 1 else 0
    return program
