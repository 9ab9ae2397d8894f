"""Which cases run which instructions: only those can tell a mutant of one from the unbroken kernel.

A kernel that marks what it runs replays all recorded cases once. Instructions without a jump between them
share a mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .leb128 import write_signed, write_unsigned
from .meter import add_meter
from .opcodes import CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .code import Code, Function
    from .operators import Mutant

_BITS = 64
_JUMPS = frozenset(("block", "loop", "if", "else", "end", "br", "br_if", "br_table", "return", "call"))
"""After one of them another instruction may come next, or come from elsewhere."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where the marks of a kernel are."""

    numbers: Mapping[tuple[int, int], int]
    """Function index and instruction to mark."""
    words: int
    """Globals that hold the marks, 64 in each."""

    def of(self, mutant: Mutant) -> int:
        """Return the mark that is set before a mutant's instruction runs."""
        return self.numbers[mutant.function.index, mutant.place]


def place_marks(code: Code) -> Marks:
    """Give each run of instructions without a jump a mark."""
    numbers: dict[tuple[int, int], int] = {}
    mark = -1
    for function in code.functions:
        is_new = True
        for place, instruction in enumerate(function.instructions):
            mark += is_new
            numbers[function.index, place] = mark
            is_new = instruction.name in _JUMPS
        # the next function begins a run of its own
    return Marks(numbers, mark // _BITS + 1)


def add_marks(code: Code, marks: Marks) -> bytes:
    """Return the metered kernel that sets its marks in the globals `mark-0`, `mark-1`, ..."""
    last = -1

    def mark(function: Function, place: int) -> bytes:
        nonlocal last
        number = marks.numbers[function.index, place]
        if number == last:
            return b""
        last = number
        word, bit = divmod(number, _BITS)
        index = write_unsigned(len(code.globals) + word)
        value = (1 << bit) - (1 << _BITS if bit == _BITS - 1 else 0)
        constant = CODES["i64.const"] + write_signed(value)
        return CODES["global.get"] + index + constant + CODES["i64.or"] + CODES["global.set"] + index

    return add_meter(code.data, mark, marks.words)
