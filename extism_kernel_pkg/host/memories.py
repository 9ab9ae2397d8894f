"""Reads which memories a module defines, and exports those it keeps to itself, so that they count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_IMPORT, _MEMORY, _EXPORT = 2, 5, 7
_KIND_MEMORY: Final = 2
_HEADER: Final = 8
_MAX_PAGES: Final = 65536
_ORDER: Final = (1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11)
"""Section ids in the order in which they must appear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedMemory:
    """One memory of a module: the export by which it is reached, and its limits in pages."""

    export: str
    minimum: int
    maximum: int


def export_memories(wasm: bytes) -> tuple[bytes, list[DefinedMemory]]:
    """Return the module with every memory that it defines exported, and the list of these.

    The module must be valid: the runtime has compiled it. Indices stay as they are.
    """
    sections = _read_sections(wasm)
    bodies = {number: body for number, body in sections if number}
    imported = _count_imported_memories(bodies.get(_IMPORT, b"\0"))
    limits = _read_limits(bodies.get(_MEMORY, b"\0"))
    exports = _Reader(bodies.get(_EXPORT, b"\0"))
    names: dict[int, str] = {}
    taken = set()
    count = exports.number()
    for _ in range(count):
        name, kind, index = exports.name(), exports.byte(), exports.number()
        taken.add(name)
        if kind == _KIND_MEMORY:
            names.setdefault(index, name)
    added = b""
    for index in range(imported, imported + len(limits)):
        if index not in names:
            name = f"extism:host/memory-{index}"
            while name in taken:
                name += "-"
            names[index] = name
            added += _leb(len(name)) + name.encode() + bytes([_KIND_MEMORY]) + _leb(index)
            count += 1
    memories = [
        DefinedMemory(export=names[imported + i], minimum=least, maximum=most)
        for i, (least, most) in enumerate(limits)
    ]
    if not added:
        return wasm, memories
    old = exports.data[_leb_size(exports.data) :]
    return _replace_exports(wasm, sections, _leb(count) + old + added), memories


def _replace_exports(wasm: bytes, sections: list[tuple[int, bytes]], body: bytes) -> bytes:
    out, is_done = bytearray(wasm[:_HEADER]), False
    for number, old in sections:
        is_later = number != 0 and _ORDER.index(number) > _ORDER.index(_EXPORT)
        if not is_done and (number == _EXPORT or is_later):
            out += bytes([_EXPORT]) + _leb(len(body)) + body
            is_done = True
        if number != _EXPORT:
            out += bytes([number]) + _leb(len(old)) + old
    if not is_done:
        out += bytes([_EXPORT]) + _leb(len(body)) + body
    return bytes(out)


def _read_sections(wasm: bytes) -> list[tuple[int, bytes]]:
    reader, sections = _Reader(wasm, _HEADER), []
    while reader.at < len(wasm):
        number, size = reader.byte(), reader.number()
        sections.append((number, reader.bytes(size)))
    return sections


def _count_imported_memories(body: bytes) -> int:
    reader, memories = _Reader(body), 0
    for _ in range(reader.number()):
        reader.name()
        reader.name()
        kind = reader.byte()
        if kind == 0:
            reader.number()
        elif kind == 1:
            reader.value_type()
            reader.limits()
        elif kind == _KIND_MEMORY:
            reader.limits()
            memories += 1
        elif kind == 3:  # noqa: PLR2004 - a global, as numbered in the binary format
            reader.value_type()
            reader.byte()
        else:
            reader.byte()
            reader.number()
    return memories


def _read_limits(body: bytes) -> list[tuple[int, int]]:
    reader = _Reader(body)
    return [reader.limits() for _ in range(reader.number())]


class _Reader:
    """A cursor over bytes of the binary format."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - LEB128's bit for "more follows"
                return value

    def name(self) -> str:
        return self.bytes(self.number()).decode()

    def value_type(self) -> None:
        if self.byte() in {0x63, 0x64}:  # (ref null? heap type): the heap type follows
            self.number()

    def limits(self) -> tuple[int, int]:
        flags = self.byte()
        least = self.number()
        most = self.number() if flags & 1 else _MAX_PAGES
        if flags & 8:
            self.number()  # a custom page size
        return least, most


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits per byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _leb_size(data: bytes) -> int:
    reader = _Reader(data)
    reader.number()
    return reader.at
