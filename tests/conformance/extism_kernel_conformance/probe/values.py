"""Values of a probe: what the runner knows already, and what only the guest will know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseSkipped
from extism_kernel_conformance.cases.expressions import U64

if TYPE_CHECKING:
    from extism_kernel_conformance.cases.expressions import Expression, Variable


@dataclass(frozen=True, slots=True)
class Value:
    """A number plus multiples of results that the guest keeps in slots; all sums wrap at 2^64."""

    number: int = 0
    terms: tuple[tuple[int, int], ...] = ()
    """(slot, factor), sorted by slot; no factor is 0."""

    def __add__(self, other: Value) -> Value:
        if not other.terms:
            return Value((self.number + other.number) % U64, self.terms)
        factors = dict(self.terms)
        for slot, factor in other.terms:
            factors[slot] = (factors.get(slot, 0) + factor) % U64
        terms = tuple(sorted((slot, factor) for slot, factor in factors.items() if factor))
        return Value((self.number + other.number) % U64, terms)

    def __sub__(self, other: Value) -> Value:
        return self + other.times(-1)

    def times(self, factor: int) -> Value:
        """Return the product with a number that is known already."""
        scaled = ((slot, each * factor % U64) for slot, each in self.terms)
        return Value(self.number * factor % U64, tuple(term for term in scaled if term[1]))

    @property
    def is_known(self) -> bool:
        """Whether the runner knows the value."""
        return not self.terms


Environment = Mapping[str, Value]
"""What each variable is worth, by the keys of `Variable.key`."""


def evaluate(expression: Expression, environment: Environment) -> Value:
    """Return an expression's value. Raises CaseSkipped for a product of two values of the guest."""
    if len(expression.terms) == 1:  # a literal or a variable, as nearly all are
        sign, factors = expression.terms[0]
        if sign == 1 and len(factors) == 1:
            return _factor(factors[0], environment)
    total = Value()
    for sign, factors in expression.terms:
        product = Value(sign % U64)
        for factor in factors:
            value = _factor(factor, environment)
            if not product.is_known and not value.is_known:
                raise CaseSkipped(f"`{expression.text}` multiplies two values that only the guest knows")
            product = product.times(value.number) if value.is_known else value.times(product.number)
        total += product
    return total


def evaluate_now(expression: Expression, environment: Environment) -> int:
    """Return the value of a length, an index or a number of rounds, which the runner has to know."""
    value = evaluate(expression, environment)
    if not value.is_known:
        raise CaseSkipped(f"`{expression.text}` is a length or a count that only the guest knows")
    return value.number


def key_of(variable: Variable, environment: Environment) -> str:
    """Return the key under which a variable is kept, its index worked out."""
    if variable.index is None:
        return variable.name
    return f"{variable.name}[{evaluate_now(variable.index, environment)}]"


def _factor(factor: int | Variable, environment: Environment) -> Value:
    if isinstance(factor, int):
        return Value(factor)
    return environment[key_of(factor, environment)]
