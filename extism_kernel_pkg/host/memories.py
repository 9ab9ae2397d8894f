"""Reads which memories a module defines, and exports those it keeps to itself, so that they count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extism_kernel_pkg.host.binary import (
    EXPORT,
    HEADER,
    IMPORT,
    KIND_MEMORY,
    MEMORY,
    TABLE,
    Reader,
    read_imports,
    read_sections,
)

_ORDER: Final = (1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11)
"""Section ids in the order in which they must appear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedMemory:
    """One memory of a module: the export by which it is reached, and its limits in pages."""

    export: str
    minimum: int
    maximum: int
    index: str
    """The type of its addresses: `i32`, or `i64` (memory64)."""


def export_memories(wasm: bytes) -> tuple[bytes, list[DefinedMemory]]:
    """Return the module with every memory that it defines exported, and the list of these.

    The module must be valid: the runtime has compiled it. Indices stay as they are.
    """
    sections = read_sections(wasm)
    bodies = {number: body for number, body in sections if number}
    imported = sum(kind == KIND_MEMORY for _, _, kind, _ in read_imports(bodies.get(IMPORT, b"\0")))
    limits = _read_limits(bodies.get(MEMORY, b"\0"))
    exports = Reader(bodies.get(EXPORT, b"\0"))
    names: dict[int, str] = {}
    taken = set()
    count = exports.number()
    for _ in range(count):
        name, kind, index = exports.name(), exports.byte(), exports.number()
        taken.add(name)
        if kind == KIND_MEMORY:
            names.setdefault(index, name)
    added = b""
    for index in range(imported, imported + len(limits)):
        if index not in names:
            name = f"extism:host/memory-{index}"
            while name in taken:
                name += "-"
            names[index] = name
            added += _leb(len(name)) + name.encode() + bytes([KIND_MEMORY]) + _leb(index)
            count += 1
    memories = [
        DefinedMemory(export=names[imported + i], minimum=least, maximum=most, index=index)
        for i, (least, most, index) in enumerate(limits)
    ]
    if not added:
        return wasm, memories
    old = exports.data[_leb_size(exports.data) :]
    return _replace_exports(wasm, sections, _leb(count) + old + added), memories


def count_tables(wasm: bytes) -> int:
    """Return how many tables a module defines."""
    return sum(Reader(body).number() for number, body in read_sections(wasm) if number == TABLE)


def _replace_exports(wasm: bytes, sections: list[tuple[int, bytes]], body: bytes) -> bytes:
    out, is_done = bytearray(wasm[:HEADER]), False
    for number, old in sections:
        is_later = number != 0 and _ORDER.index(number) > _ORDER.index(EXPORT)
        if not is_done and (number == EXPORT or is_later):
            out += bytes([EXPORT]) + _leb(len(body)) + body
            is_done = True
        if number != EXPORT:
            out += bytes([number]) + _leb(len(old)) + old
    if not is_done:
        out += bytes([EXPORT]) + _leb(len(body)) + body
    return bytes(out)


def _read_limits(body: bytes) -> list[tuple[int, int, str]]:
    """Return the least and the most pages and the type of the addresses of each memory."""
    reader = Reader(body)
    is_64 = ("i32", "i64")
    limits = []
    for _ in range(reader.number()):
        index = is_64[reader.data[reader.at] >> 2 & 1]
        limits.append((*reader.limits(), index))
    return limits


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits per byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _leb_size(data: bytes) -> int:
    reader = Reader(data)
    reader.number()
    return reader.at
