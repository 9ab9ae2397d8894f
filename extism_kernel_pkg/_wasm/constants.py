"""Constant expressions: first values of globals, offsets of segments, elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm.cursor import InvalidModuleError
from extism_kernel_pkg._wasm.types import read_heap_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from extism_kernel_pkg._wasm.cursor import Cursor

END = 0x0B
I32, I64, F32, F64, GLOBAL_GET, REF_NULL, REF_FUNC = 0x41, 0x42, 0x43, 0x44, 0x23, 0xD0, 0xD2
GC_PREFIX, VECTOR_PREFIX, VECTOR_CONSTANT = 0xFB, 0xFD, 12
ARITHMETIC = {
    0x6A: "i32.add",
    0x6B: "i32.sub",
    0x6C: "i32.mul",
    0x7C: "i64.add",
    0x7D: "i64.sub",
    0x7E: "i64.mul",
}
# Instructions behind the prefix of garbage collection: name and how many numbers follow.
OBJECTS = {
    0: ("struct.new", 1),
    1: ("struct.new_default", 1),
    6: ("array.new", 1),
    7: ("array.new_default", 1),
    8: ("array.new_fixed", 2),
    26: ("any.convert_extern", 0),
    27: ("extern.convert_any", 0),
    28: ("ref.i31", 0),
}


def read_constant(cursor: Cursor) -> str:
    """Read a constant expression up to its `end` and return it as text, instructions joined by `; `."""
    parts: list[str] = []
    while True:
        start = cursor.at
        opcode = cursor.byte()
        if opcode == END:
            return "; ".join(parts)
        if opcode in ARITHMETIC:
            parts.append(ARITHMETIC[opcode])
            continue
        read = READERS.get(opcode)
        text = read(cursor) if read else None
        if text is None:
            raise InvalidModuleError(f"{opcode:#04x} is no instruction of a constant expression", start)
        parts.append(text)


def _read_bits(cursor: Cursor, size: int) -> str:
    """Read a constant that is stored as it is, and return its bits in hex."""
    start = cursor.skip(size, "a constant")
    return bytes(cursor.data[start : cursor.at])[::-1].hex()


def _read_vector(cursor: Cursor) -> str | None:
    return f"v128.const {_read_bits(cursor, 16)}" if cursor.u32() == VECTOR_CONSTANT else None


def _read_object(cursor: Cursor) -> str | None:
    number = cursor.u32()
    if number not in OBJECTS:
        return None
    name, operands = OBJECTS[number]
    return " ".join([name, *(str(cursor.u32()) for _ in range(operands))])


READERS: dict[int, Callable[[Cursor], str | None]] = {
    I32: lambda cursor: f"i32.const {cursor.s32()}",
    I64: lambda cursor: f"i64.const {cursor.s64()}",
    F32: lambda cursor: f"f32.const {_read_bits(cursor, 4)}",
    F64: lambda cursor: f"f64.const {_read_bits(cursor, 8)}",
    GLOBAL_GET: lambda cursor: f"global.get {cursor.u32()}",
    REF_NULL: lambda cursor: f"ref.null {read_heap_type(cursor)}",
    REF_FUNC: lambda cursor: f"ref.func {cursor.u32()}",
    GC_PREFIX: _read_object,
    VECTOR_PREFIX: _read_vector,
}
