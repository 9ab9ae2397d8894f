"""Expectations: a value, or an object of relations that must all hold."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.cases.expressions import Expression, ExpressionError, Lookup, parse_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "multiple_of": lambda value, unit: unit != 0 and value % unit == 0,
}
_WORDS = {
    "eq": "",
    "ne": "not ",
    "lt": "less than ",
    "le": "at most ",
    "gt": "more than ",
    "ge": "at least ",
    "multiple_of": "a multiple of ",
}
RELATIONS = (*_COMPARE, "in", "any")


@dataclass(frozen=True, slots=True)
class Expectation:
    """Relations as written: (name, operands). Variables are still variables."""

    relations: tuple[tuple[str, tuple[Expression, ...]], ...]

    def resolve(self, lookup: Lookup) -> ResolvedExpectation:
        """Return the expectation with every operand worked out now."""
        return ResolvedExpectation(
            tuple(
                (name, tuple(each.evaluate(lookup) for each in operands)) for name, operands in self.relations
            )
        )

    def constant(self) -> ResolvedExpectation | None:
        """Return the expectation over numbers if it reads no variable."""
        if any(each.constant is None for _, operands in self.relations for each in operands):
            return None
        return self.resolve(_no_variable)

    def variables(self) -> set[str]:
        """Return the names of all variables the operands read."""
        return {name for _, operands in self.relations for each in operands for name in each.variables()}


@dataclass(frozen=True, slots=True)
class ResolvedExpectation:
    """Relations over plain numbers."""

    relations: tuple[tuple[str, tuple[int, ...]], ...]

    def resolve(self) -> ResolvedExpectation:
        """Return the expectation itself: it waits for nothing."""
        return self

    def holds(self, value: int) -> bool:
        """Return whether every relation is true of the unsigned value."""
        for name, operands in self.relations:
            if name == "in":
                if value not in operands:
                    return False
            elif name != "any" and not _COMPARE[name](value, operands[0]):
                return False
        return True

    def describe(self) -> str:
        """Return the expectation in words, for a report."""
        return " and ".join(describe_relation(name, operands) for name, operands in self.relations)


def _no_variable(name: str) -> int:
    raise KeyError(name)


def parse_expectation(value: object) -> Expectation:
    """Read the `expect` of a number. Raises ExpressionError with the fault in words."""
    if not isinstance(value, dict):
        return Expectation((("eq", (parse_expression(value),)),))
    if not value:
        raise ExpressionError(f"an empty object expects nothing; give one of {', '.join(RELATIONS)}")
    relations: list[tuple[str, tuple[Expression, ...]]] = []
    for name, operand in value.items():
        if name == "in":
            if not isinstance(operand, list) or not operand:
                raise ExpressionError("`in` takes a list of at least one value")
            relations.append((name, tuple(parse_expression(each) for each in operand)))
        elif name == "any":
            if operand is not True:
                raise ExpressionError('`any` takes no operand; write {"any": true}')
            relations.append((name, ()))
        elif name in _COMPARE:
            relations.append((name, (parse_expression(operand),)))
        else:
            raise ExpressionError(f"`{name}` is no relation; known are {', '.join(RELATIONS)}")
    return Expectation(tuple(relations))


def describe_relation(name: str, operands: Sequence[int | str]) -> str:
    """Return one relation in words."""
    if name == "any":
        return "any value"
    if name == "in":
        return f"one of {', '.join(map(str, operands))}"
    return f"{_WORDS[name]}{operands[0]}"
