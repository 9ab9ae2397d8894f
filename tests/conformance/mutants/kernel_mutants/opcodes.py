"""The instructions a kernel may use (contract S-5): their names and what follows the opcode."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK, INDEX, TABLE, CALL_INDIRECT, MEMARG, I32, I64, F32, F64, ZERO, TYPES, NONE = range(12)
"""What follows an opcode: a block type, one index, a branch table, two indices, ..."""

_PLAIN = {
    0x00: "unreachable", 0x01: "nop", 0x05: "else", 0x0B: "end", 0x0F: "return", 0x1A: "drop", 0x1B: "select",
}  # fmt: skip
_BLOCKS = {0x02: "block", 0x03: "loop", 0x04: "if"}
_INDEXED = {
    0x0C: "br", 0x0D: "br_if", 0x10: "call", 0x20: "local.get", 0x21: "local.set", 0x22: "local.tee",
    0x23: "global.get", 0x24: "global.set",
}  # fmt: skip
_MEMORY = (
    "i32.load", "i64.load", "f32.load", "f64.load",
    "i32.load8_s", "i32.load8_u", "i32.load16_s", "i32.load16_u",
    "i64.load8_s", "i64.load8_u", "i64.load16_s", "i64.load16_u", "i64.load32_s", "i64.load32_u",
    "i32.store", "i64.store", "f32.store", "f64.store",
    "i32.store8", "i32.store16", "i64.store8", "i64.store16", "i64.store32",
)  # fmt: skip
_COMPARE = ("eqz", "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u")
_ARITHMETIC = (
    "clz", "ctz", "popcnt", "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u",
    "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr",
)  # fmt: skip
_CONVERT = {
    0xA7: "i32.wrap_i64", 0xAC: "i64.extend_i32_s", 0xAD: "i64.extend_i32_u", 0xC0: "i32.extend8_s",
    0xC1: "i32.extend16_s", 0xC2: "i64.extend8_s", 0xC3: "i64.extend16_s", 0xC4: "i64.extend32_s",
}  # fmt: skip
_BULK = {10: ("memory.copy", (ZERO, ZERO)), 11: ("memory.fill", (ZERO,))}


def _table() -> Mapping[int, tuple[str, tuple[int, ...]]]:
    table: dict[int, tuple[str, tuple[int, ...]]] = {
        code: (name, ()) for code, name in (_PLAIN | _CONVERT).items()
    }
    table |= {code: (name, (BLOCK,)) for code, name in _BLOCKS.items()}
    table |= {code: (name, (INDEX,)) for code, name in _INDEXED.items()}
    table |= {0x28 + i: (name, (MEMARG,)) for i, name in enumerate(_MEMORY)}
    table |= {0x45 + i: (f"i32.{name}", ()) for i, name in enumerate(_COMPARE)}
    table |= {0x50 + i: (f"i64.{name}", ()) for i, name in enumerate(_COMPARE)}
    table |= {0x67 + i: (f"i32.{name}", ()) for i, name in enumerate(_ARITHMETIC)}
    table |= {0x79 + i: (f"i64.{name}", ()) for i, name in enumerate(_ARITHMETIC)}
    table[0x0E] = ("br_table", (TABLE,))
    table[0x11] = ("call_indirect", (CALL_INDIRECT,))
    table[0x3F], table[0x40] = ("memory.size", (ZERO,)), ("memory.grow", (ZERO,))
    table[0x41], table[0x42] = ("i32.const", (I32,)), ("i64.const", (I64,))
    return table


OPCODES = _table()
"""Opcode to name and immediates."""
BULK = _BULK
"""The same for the numbers that follow the prefix 0xFC."""
CODES: Mapping[str, bytes] = {name: bytes((code,)) for code, (name, _) in OPCODES.items()}
"""Name to opcode, for the instructions that mutations put in."""
