"""Types as the binary format writes them, and their names in the text format."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from extism_kernel_pkg._wasm.cursor import InvalidModuleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extism_kernel_pkg._wasm.cursor import Cursor

VALUE_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
PACKED_TYPES = {0x78: "i8", 0x77: "i16"}
HEAP_TYPES = {
    0x75: "nocont",
    0x74: "noexn",
    0x73: "nofunc",
    0x72: "noextern",
    0x71: "none",
    0x70: "func",
    0x6F: "extern",
    0x6E: "any",
    0x6D: "eq",
    0x6C: "i31",
    0x6B: "struct",
    0x6A: "array",
    0x69: "exn",
    0x68: "cont",
}
SHORT_NAMES = {
    "none": "nullref",
    "noextern": "nullexternref",
    "nofunc": "nullfuncref",
    "noexn": "nullexnref",
    "nocont": "nullcontref",
}
REFERENCE, NULLABLE_REFERENCE = 0x64, 0x63
GROUP, SUBTYPE, FINAL_SUBTYPE = 0x4E, 0x50, 0x4F
FUNCTION, STRUCT, ARRAY, CONTINUATION = 0x60, 0x5F, 0x5E, 0x5D
LOW_SEVEN = 0x7F


class FunctionType(NamedTuple):
    """The types of what a function takes and returns."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return function_type(self.params, self.results)


def function_type(params: Sequence[str], results: Sequence[str]) -> str:
    """Return a function type in the form `(i64, i32) -> i64`; more or less than one result in brackets."""
    result = results[0] if len(results) == 1 else f"({', '.join(results)})"
    return f"({', '.join(params)}) -> {result}"


def read_value_type(cursor: Cursor) -> str:
    """Read a value type and return its name."""
    start = cursor.at
    byte = cursor.byte()
    if byte in VALUE_TYPES:
        return VALUE_TYPES[byte]
    if byte in {REFERENCE, NULLABLE_REFERENCE}:
        return f"(ref {'null ' if byte == NULLABLE_REFERENCE else ''}{read_heap_type(cursor)})"
    if byte in HEAP_TYPES:
        name = HEAP_TYPES[byte]
        return SHORT_NAMES.get(name, f"{name}ref")
    raise InvalidModuleError(f"{byte:#04x} is no value type", start)


def read_heap_type(cursor: Cursor) -> str:
    """Read a heap type: the name of one, or the index of a type."""
    start = cursor.at
    value = cursor.s33()
    if value >= 0:
        return str(value)
    if value < -(LOW_SEVEN // 2 + 1) or value & LOW_SEVEN not in HEAP_TYPES:
        raise InvalidModuleError("is no heap type", start)
    return HEAP_TYPES[value & LOW_SEVEN]


def read_types(cursor: Cursor) -> Iterator[FunctionType | None]:
    """Yield the type at each index; None for what is no function's."""
    for _ in cursor.vector("types"):
        if cursor.data[cursor.at : cursor.at + 1] == bytes((GROUP,)):
            cursor.byte()
            for _ in cursor.vector("types of a group"):
                yield _read_subtype(cursor)
        else:
            yield _read_subtype(cursor)


def _read_subtype(cursor: Cursor) -> FunctionType | None:
    start = cursor.at
    byte = cursor.byte()
    if byte in {SUBTYPE, FINAL_SUBTYPE}:
        for _ in cursor.vector("supertypes"):
            cursor.u32()
        start = cursor.at
        byte = cursor.byte()
    if byte == FUNCTION:
        params = tuple(read_value_type(cursor) for _ in cursor.vector("parameters"))
        return FunctionType(params, tuple(read_value_type(cursor) for _ in cursor.vector("results")))
    if byte == STRUCT:
        for _ in cursor.vector("fields"):
            _read_field(cursor)
    elif byte == ARRAY:
        _read_field(cursor)
    elif byte == CONTINUATION:
        cursor.s33()
    else:
        raise InvalidModuleError(f"{byte:#04x} is no kind of type", start)
    return None


def _read_field(cursor: Cursor) -> None:
    if cursor.data[cursor.at : cursor.at + 1] in {bytes((byte,)) for byte in PACKED_TYPES}:
        cursor.byte()
    else:
        read_value_type(cursor)
    read_mutability(cursor)


def read_mutability(cursor: Cursor) -> bool:
    """Read whether a global or a field can be changed."""
    start = cursor.at
    byte = cursor.byte()
    if byte > 1:
        raise InvalidModuleError(f"{byte:#04x} is no mutability", start)
    return byte == 1
