"""The longest way through the code of each export: without loops, that is a bound for every state (C-1)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from build_tools.base.errors import ModuleMalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from build_tools.proof.code import Instruction, Program

FREE = frozenset({"block", "nop", "drop"})
"""What makes no code. Every other instruction counts as 1, a call too; what it calls is added."""


def count_longest(program: Program) -> dict[str, int]:
    """Return for each export the instructions of its longest path, calls included, bulk bytes left aside.

    Raises `ModuleMalformedError` if functions call each other in a circle: then there is no longest path.
    """
    entered: set[int] = set()

    @cache
    def longest(index: int) -> int:
        if index in entered:
            raise ModuleMalformedError(
                f"function {index} can call itself, so no bound can be counted",
                where=f"function {index}",
                hint="take the recursion out (C-1)",
            )
        entered.add(index)
        length = _Longest(longest).of_function(program.functions[index].body)
        entered.discard(index)
        return length

    return {name: longest(index) for name, index in program.exports.items()}


class _Longest:
    """Counts from the end of a function to its beginning: what is still to come after each instruction."""

    def __init__(self, longest: Callable[[int], int]) -> None:
        self.longest = longest

    def of_function(self, body: Sequence[Instruction]) -> int:
        return self._sequence(body, after=0, labels=(0,))

    def _sequence(self, code: Sequence[Instruction], *, after: int, labels: tuple[int, ...]) -> int:
        for each in reversed(code):
            after = self._one(each, after, labels)
        return after

    def _one(self, each: Instruction, after: int, labels: tuple[int, ...]) -> int:
        """Return what is to come from this instruction on."""
        to_come = after + (each.name not in FREE)
        inner = (after, *labels)
        if each.name == "block":
            to_come = self._sequence(each.body, after=after, labels=inner)
        elif each.name == "if":
            ways = (self._sequence(way, after=after, labels=inner) for way in (each.body, each.orelse))
            to_come = 1 + max(ways)
        elif each.name == "br":
            to_come = 1 + labels[each.immediates[0]]
        elif each.name == "br_if":
            to_come = 1 + max(after, labels[each.immediates[0]])
        elif each.name in {"return", "unreachable"}:
            to_come = 0
        elif each.name == "call":
            to_come = 1 + self.longest(each.immediates[0]) + after
        return to_come
