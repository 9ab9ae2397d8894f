"""The plain instructions on numbers, as formulas; names and meanings are those of the WebAssembly spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import z3

from build_tools.base.errors import ModuleMalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.proof.code import Instruction

Value: TypeAlias = "z3.BitVecRef"

WIDTHS = {"i32": 32, "i64": 64}


def _shift(value: Value, by: Value) -> Value:
    """Return how far to shift: WebAssembly takes it modulo the width."""
    return by & (value.size() - 1)


def remainder(value: Value, divisor: Value) -> Value:
    """Return the remainder as a function about which nothing is known: solvers are slow at division."""
    sort = value.sort()
    return z3.Function("remainder", sort, sort, sort)(value, divisor)


COMPARE: dict[str, Callable[[Value, Value], z3.BoolRef]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt_u": z3.ULT,
    "gt_u": z3.UGT,
    "le_u": z3.ULE,
    "ge_u": z3.UGE,
    "lt_s": lambda a, b: a < b,
    "gt_s": lambda a, b: a > b,
    "le_s": lambda a, b: a <= b,
    "ge_s": lambda a, b: a >= b,
}
BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << _shift(a, b),
    "shr_u": lambda a, b: z3.LShR(a, _shift(a, b)),
    "shr_s": lambda a, b: a >> _shift(a, b),
    "rotl": lambda a, b: z3.RotateLeft(a, _shift(a, b)),
    "rotr": lambda a, b: z3.RotateRight(a, _shift(a, b)),
}
DIVIDE: dict[str, Callable[[Value, Value], Value]] = {"div_u": z3.UDiv, "rem_u": remainder}
"""By a constant other than 0 only: any other divisor could trap."""


def compute(each: Instruction, stack: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the stack after an instruction. Raises `ModuleMalformedError` for one that is not modelled."""
    kind, _, operation = each.name.partition(".")
    if each.name in {"nop", "drop"}:
        return stack if each.name == "nop" else stack[:-1]
    if operation == "const":
        return (*stack, z3.BitVecVal(each.immediates[0], WIDTHS[kind]))
    converted = _convert(each.name, stack[-1])
    if converted is not None:
        return (*stack[:-1], converted)
    if each.name == "select":
        *rest, one, two, condition = stack
        return (*rest, z3.If(condition != 0, one, two))
    *rest, one, two = stack
    return (*rest, _combine(each, operation, one, two))


def _combine(each: Instruction, operation: str, one: Value, two: Value) -> Value:
    if operation in COMPARE:
        return _as_number(COMPARE[operation](one, two))
    if operation in BINARY:
        return BINARY[operation](one, two)
    if operation in DIVIDE and z3.is_bv_value(two) and two.as_long():
        return DIVIDE[operation](one, two)
    raise ModuleMalformedError(
        f"`{each.name}` is not modelled, so nothing is proved", where=f"byte {each.at:#x}", hint=None
    )


def _convert(name: str, value: Value) -> Value | None:
    kind, _, operation = name.partition(".")
    if operation == "eqz":
        return _as_number(value == 0)
    if name == "i32.wrap_i64":
        return z3.Extract(31, 0, value)
    if name in {"i64.extend_i32_u", "i64.extend_i32_s"}:
        return (z3.ZeroExt if name.endswith("_u") else z3.SignExt)(32, value)
    if operation in {"clz", "ctz"}:
        return _count_zeros(value, WIDTHS[kind], is_leading=operation == "clz")
    return None


def _count_zeros(value: Value, width: int, *, is_leading: bool) -> Value:
    """Return how many zeros stand before the first one: a chain of choices, one for each bit."""
    found = z3.BitVecVal(width, width)
    order = range(width) if is_leading else range(width - 1, -1, -1)
    for bit in order:
        zeros = width - 1 - bit if is_leading else bit
        found = z3.If(z3.Extract(bit, bit, value) == 1, z3.BitVecVal(zeros, width), found)
    return found


def _as_number(condition: z3.BoolRef) -> Value:
    return z3.If(condition, z3.BitVecVal(1, 32), z3.BitVecVal(0, 32))
