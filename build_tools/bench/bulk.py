"""Makes a module count the bytes that it clears and copies, which fuel alone does not tell from instructions.

Each `memory.fill` and `memory.copy` becomes a call, in the same bytes, of a function that adds up the length
and then does it. C-5 counts such a byte as 1/16 of an instruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.base.errors import ModuleMalformedError
from build_tools.bench.extend import extend_module
from extism_kernel_pkg._wasm import read_module

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES, CALLS = "bench bytes", "bench calls"
"""Exported globals, 64 bits each: what was cleared or copied so far, and by how many instructions."""
EXTRA_FUEL = 14
"""What one counted instruction takes more than the one that it stands for."""
COUNTED = {
    "memory.fill": b"\xfc\x0b\x00",
    "memory.copy": b"\xfc\x0a\x00\x00",
}
FIELDS = """
(global $bytes (export "bench bytes") (mut i64) (i64.const 0))
(global $calls (export "bench calls") (mut i64) (i64.const 0))
"""
FUNCTION = """
(func (param $to i32) (param $what i32) (param $length i32)
  (global.set $bytes (i64.add (global.get $bytes) (i64.extend_i32_u (local.get $length))))
  (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
  ({name} (local.get $to) (local.get $what) (local.get $length)))
"""
CALL, MORE = 0x10, 0x80
LARGEST_INDEX = 1 << 14
"""An index below takes two bytes or fewer."""


def count_bulk(data: bytes) -> bytes:
    """Return a module that counts what it clears and copies.

    Raises ModuleMalformedError for one with several memories or with more functions than fit.
    """
    functions = len(read_module(data).function_types)
    if functions + len(COUNTED) > LARGEST_INDEX:
        raise ModuleMalformedError(
            f"{functions:,} functions are too many to be counted", where="code section"
        )
    patched = bytearray(data)
    for name, at in _find_bulk(data):
        code = COUNTED[name]
        if data[at : at + len(code)] != code:
            raise ModuleMalformedError(f"`{name}` of another memory than the first", where=f"byte {at:#x}")
        index = functions + list(COUNTED).index(name)
        patched[at : at + len(code)] = _call(index, len(code))
    text = FIELDS + "".join(FUNCTION.replace("{name}", name) for name in COUNTED)
    return extend_module(bytes(patched), text)


def _call(index: int, size: int) -> bytes:
    """Return a call of a function in exactly so many bytes: LEB128 may be longer than it must."""
    low = [index >> 7 * step & 0x7F for step in range(size - 1)]
    return bytes((CALL, *(each | MORE for each in low[:-1]), low[-1]))


def _find_bulk(data: bytes) -> Iterator[tuple[str, int]]:
    finder = _Finder(data)
    BinaryReader(data, finder).read_module()
    yield from finder.found


class _Finder(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    """Notes where the counted instructions are."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ObjdumpOptions(), ObjdumpState())
        self.found: list[tuple[str, int]] = []

    def begin_module(self, version: int) -> None:
        """Print nothing: the library's own method prints a heading."""

    def on_opcode(self, opcode: object) -> None:
        name = str(getattr(opcode, "name", opcode))
        if name in COUNTED:
            self.found.append((name, self.offset))
