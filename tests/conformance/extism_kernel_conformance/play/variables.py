"""The variables of a case, some of them promised by answers that are still under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.cases.expressions import U64
from extism_kernel_conformance.cases.relations import Expectation, ResolvedExpectation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.adapter.connection import Connection, Reference
    from extism_kernel_conformance.cases.expressions import Expression, Variable


@dataclass(slots=True, eq=False)
class Cell:
    """A variable's value, or the promise of one."""

    name: str = ""
    value: int | None = None
    reference: Reference | None = None
    """How later operations name the value before it is known."""
    promise: Sum | None = None
    """What the value will be, for a `let` over promised values."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A number that needs answers: a known part, and products of a number with cells."""

    known: int
    terms: tuple[tuple[int, tuple[Cell, ...]], ...]

    def is_kept(self) -> bool:
        """Return whether all answers are there."""
        return all(cell.value is not None for _, cells in self.terms for cell in cells)

    def value(self) -> int:
        """Return the number, once all answers are there. Raises CaseFailed if a cell never got its value."""
        total = self.known
        for factor, cells in self.terms:
            product = factor
            for cell in cells:
                product *= _require(cell)
            total += product
        return total % U64


class Variables:
    """What the steps of a case have bound so far."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.cells: dict[str, Cell] = {}

    def lookup(self, key: str) -> int:
        """Return a variable's value, waiting for its answer if need be. Raises CaseFailed if it has none."""
        return self._await(self._cell(key))

    def set(self, key: str, value: int | Sum) -> None:
        """Name a value."""
        self.cells[key] = Cell(key, promise=value) if isinstance(value, Sum) else Cell(key, value)

    def key(self, target: Variable | None) -> str | None:
        """Return the name that a step binds, with its index worked out."""
        return None if target is None else target.key(self.lookup)

    def bind(self, key: str | None) -> Cell:
        """Return the cell that an answer will fill; None is one that nobody reads."""
        if key is None:
            return Cell()
        cell = self.cells[key] = Cell(key)
        return cell

    def promise(self, expression: Expression) -> int | Sum:
        """Return an expression's value, or what it will be once answers are there."""
        if expression.constant is not None:
            return expression.constant
        if expression.single is not None:
            variable, offset = expression.single
            value = self._cell(variable.key(self.lookup)).value
            if value is not None:
                return (value + offset) % U64
        known = 0
        terms: list[tuple[int, tuple[Cell, ...]]] = []
        for sign, factors in expression.terms:
            product, cells = self._multiply(sign, factors)
            if len(cells) == 1 and cells[0].promise is not None:
                promise = cells[0].promise
                known += product * promise.known
                terms += [(product * number, inner) for number, inner in promise.terms]
            elif cells:
                terms.append((product, cells))
            else:
                known += product
        return Sum(known % U64, tuple(terms)) if terms else known % U64

    def _multiply(self, sign: int, factors: Sequence[int | Variable]) -> tuple[int, tuple[Cell, ...]]:
        """Return a product as a number and the cells that have no value yet."""
        product, cells = sign, list[Cell]()
        for factor in factors:
            if isinstance(factor, int):
                product *= factor
                continue
            cell = self._cell(factor.key(self.lookup))
            if cell.value is None and cell.promise is not None and cell.promise.is_kept():
                cell.value = cell.promise.value()
            if cell.value is None:
                cells.append(cell)
            else:
                product *= cell.value
        if len(cells) > 1 and any(cell.promise is not None for cell in cells):
            for cell in cells:
                product *= self._await(cell)
            cells = []
        return product, tuple(cells)

    def write(self, value: int | Sum, value_type: str = "i64", offset: int = 0) -> str:
        """Return a value plus an offset as an operation has it: a decimal number, or a reference.

        Waits for answers where neither the number is known nor a reference can say it.
        """
        if isinstance(value, Sum):
            text = None
            if len(value.terms) == 1 and len(value.terms[0][1]) == 1:
                factor, (cell,) = value.terms[0]
                text = self.connection.refer(cell.reference, factor % U64, (value.known + offset) % U64)
            if text is not None:
                return text
            for _, cells in value.terms:
                for cell in cells:
                    self._await(cell)
            value = value.value()
        return str((value + offset) & (0xFFFF_FFFF if value_type == "i32" else U64 - 1))

    def expect(self, expectation: Expectation) -> ResolvedExpectation | PromisedExpectation:
        """Return an expectation over numbers, or one to be resolved when the answers before it are there."""
        relations = tuple(
            (name, tuple(self.promise(operand) for operand in operands))
            for name, operands in expectation.relations
        )
        if any(isinstance(operand, Sum) for _, operands in relations for operand in operands):
            return PromisedExpectation(relations)
        return ResolvedExpectation(relations)  # type: ignore[arg-type]

    def _cell(self, key: str) -> Cell:
        cell = self.cells.get(key)
        if cell is None:
            raise CaseFailed(
                where=key, expected=f"`${key}` to be bound", got="it is not; the case is at fault"
            )
        return cell

    def _await(self, cell: Cell) -> int:
        while cell.value is None:
            if cell.promise is not None:
                for _, inner in cell.promise.terms:
                    for each in inner:
                        self._await(each)
                cell.value = cell.promise.value()
            elif self.connection.is_idle:
                return _require(cell)
            else:
                self.connection.settle_next()
        return cell.value


@dataclass(frozen=True, slots=True)
class PromisedExpectation:
    """Relations of which some operands need answers."""

    relations: tuple[tuple[str, tuple[int | Sum, ...]], ...]

    def resolve(self) -> ResolvedExpectation:
        """Return the expectation over numbers; all answers before this one are there."""
        return ResolvedExpectation(
            tuple(
                (name, tuple(each.value() if isinstance(each, Sum) else each for each in operands))
                for name, operands in self.relations
            )
        )


def _require(cell: Cell) -> int:
    if cell.value is None:
        raise CaseFailed(
            where=cell.name,
            expected=f"`${cell.name}` to be bound",
            got="the call that binds it returned no value",
        )
    return cell.value


def number_of(value: int | Sum) -> int | None:
    """Return a value if all answers it needs are there."""
    if isinstance(value, Sum):
        return value.value() if value.is_kept() else None
    return value
