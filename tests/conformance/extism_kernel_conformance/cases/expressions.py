"""Values of a case: unsigned 64-bit integers, and sums and products of literals and variables."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

U64 = 1 << 64
LARGEST_JSON_INTEGER = 1 << 53

Lookup = Callable[[str], int]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)"
    r"|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<index>[^\[\]]*)\])?"
    r"|(?P<operator>[-+*]))\s*"
)
_TARGET = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\[(?P<index>[^\[\]]*)\])?")


class ExpressionError(ValueError):
    """A value is neither an integer nor an expression; the text says what was found."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`, or one member of a family, `$name[index]`."""

    name: str
    index: Expression | None = None

    def key(self, lookup: Lookup) -> str:
        """Return the variable's key in the environment, with its index worked out."""
        return self.name if self.index is None else f"{self.name}[{self.index.evaluate(lookup)}]"


@dataclass(frozen=True, slots=True)
class Expression:
    """A sum of products, kept as (sign, factors); evaluated unsigned, wrapping at 2^64."""

    text: str
    terms: tuple[tuple[int, tuple[int | Variable, ...]], ...]
    constant: int | None = None
    """The value, where no variable is read."""
    single: tuple[Variable, int] | None = None
    """The variable and the number to add, where the sum is just that."""

    def evaluate(self, lookup: Lookup) -> int:
        """Return the value, asking `lookup` for each variable."""
        if self.constant is not None:
            return self.constant
        total = 0
        for sign, factors in self.terms:
            product = sign
            for factor in factors:
                product *= factor if isinstance(factor, int) else lookup(factor.key(lookup))
            total += product
        return total % U64

    def variables(self) -> set[str]:
        """Return the names of all variables and families the expression reads."""
        names: set[str] = set()
        for _, factors in self.terms:
            for factor in factors:
                if isinstance(factor, Variable):
                    names.add(factor.name)
                    if factor.index is not None:
                        names |= factor.index.variables()
        return names


def parse_expression(value: object) -> Expression:
    """Read a JSON value as an expression.

    Raises ExpressionError for floats, booleans, negative or too large numbers, and bad text.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ExpressionError(f"expected an integer or a string, got {value!r}")
    if isinstance(value, int):
        if value < 0:
            raise ExpressionError(
                f"{value} is negative; values are unsigned, write {value % U64:#x} as a string"
            )
        if value > LARGEST_JSON_INTEGER:
            raise ExpressionError(f"{value} is above 2^53; write it as a string, {str(value)!r}")
        return Expression(str(value), ((1, (value,)),), value)
    return _parse_text(value)


@functools.lru_cache(maxsize=4096)  # the suite's cases have 16,000 expressions, and 1,000 that differ
def _parse_text(value: str) -> Expression:
    terms = _parse_terms(value)
    expression = Expression(value, terms)
    variables = [each for _, factors in terms for each in factors if isinstance(each, Variable)]
    if not variables:
        return Expression(value, terms, constant=expression.evaluate(_no_variable))
    rest = tuple(term for term in terms if term != (1, (variables[0],)))
    if len(variables) == 1 and len(rest) == len(terms) - 1:
        offset = Expression(value, rest).evaluate(_no_variable)
        return Expression(value, terms, single=(variables[0], offset))
    return expression


def _no_variable(name: str) -> int:
    raise KeyError(name)


def parse_target(text: object) -> Variable:
    """Read the name that `bind` or `let` gives: `a`, or `h[$i]`; no dollar sign in front."""
    match = _TARGET.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ExpressionError(f"{text!r} is no variable name; write `a` or `h[$i]`, without a leading `$`")
    index = match["index"]
    return Variable(match["name"], None if index is None else parse_expression(index))


def _parse_terms(text: str) -> tuple[tuple[int, tuple[int | Variable, ...]], ...]:
    terms: list[tuple[int, tuple[int | Variable, ...]]] = []
    sign, factors = 1, list[int | Variable]()
    position, want_value = 0, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or (match["operator"] is not None) == want_value:
            wanted = "a number or a $variable" if want_value else "one of + - *"
            raise ExpressionError(f"{text!r}: expected {wanted} at column {position + 1}")
        if match["operator"] is None:
            factors.append(_parse_value(match))
        elif match["operator"] != "*":
            terms.append((sign, tuple(factors)))
            sign, factors = (1 if match["operator"] == "+" else -1), []
        want_value = match["operator"] is not None
        position = match.end()
    if want_value:
        raise ExpressionError(f"{text!r}: expected a number or a $variable at the end")
    return (*terms, (sign, tuple(factors)))


def _parse_value(match: re.Match[str]) -> int | Variable:
    if match["name"] is not None:
        index = match["index"]
        return Variable(match["name"], None if index is None else parse_expression(index))
    value = int(match["number"], 0 if match["number"][:2] in {"0x", "0X"} else 10)
    if value >= U64:
        raise ExpressionError(f"{match['number']} does not fit 64 bits")
    return value
