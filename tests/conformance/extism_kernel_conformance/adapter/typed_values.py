"""Values on the wire, `"i64:77"`, and the types of functions, `(i64, i32) -> ()`."""

from __future__ import annotations

from functools import cache

from extism_kernel_conformance.adapter.process import AdapterFault

_BITS = {"i32": 32, "i64": 64}


def parameters_of(signature: str) -> list[str]:
    """Return the parameter types of a signature."""
    inside = signature.partition(")")[0].strip("(")
    return [each.strip() for each in inside.split(",")] if inside else []


def result_of(signature: str) -> str | None:
    """Return the result type of a signature, None for `()`."""
    result = signature.rpartition(" -> ")[2]
    return None if result == "()" else result


def write_value(value_type: str, value: int) -> str:
    """Return a number as the wire has it; it wraps at the width of its type."""
    return f"{value_type}:{value % (1 << _BITS[value_type])}"


@cache
def _expected(signature: str) -> tuple[str | None, int]:
    """Return the type of a function's result, and the end of its range."""
    result = result_of(signature)
    return result, 1 << _BITS.get(result or "", 64)


def read_result(values: list[str], signature: str, name: str) -> int | None:
    """Return the one result of a call as an unsigned number, None if the function has none.

    Raises AdapterFault if the number of values, a type, or a range is not what the module declares.
    """
    expected, end = _expected(signature)
    if expected is not None and len(values) == 1:
        kind, _, digits = values[0].partition(":")
        if kind == expected:
            number = int(digits)
            if number >= end:
                raise AdapterFault("adapter-type", f"`{name}` answers {values[0]}, which is no {expected}")
            return number
    elif expected is None and not values:
        return None
    found = f"({', '.join(value.partition(':')[0] for value in values)})"
    raise AdapterFault("adapter-type", f"`{name}` is {signature}, the adapter answers with {found}")
