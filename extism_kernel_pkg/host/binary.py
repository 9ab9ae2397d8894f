"""Reads the binary format of modules that the runtime has compiled, so that they are known to be valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPE, IMPORT, FUNCTION, TABLE, MEMORY, EXPORT = 1, 2, 3, 4, 5, 7
"""Section ids."""

KIND_FUNCTION: Final = 0
_KIND_TABLE: Final = 1
KIND_MEMORY: Final = 2
_KIND_GLOBAL: Final = 3
HEADER: Final = 8
_MAX_PAGES: Final = 65536
_VALUE_TYPES: Final = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}


def read_sections(wasm: bytes) -> list[tuple[int, bytes]]:
    """Return the sections of a module as (id, body), in their order."""
    reader, sections = Reader(wasm, HEADER), []
    while reader.at < len(wasm):
        number, size = reader.byte(), reader.number()
        sections.append((number, reader.bytes(size)))
    return sections


def read_imports(body: bytes) -> Iterator[tuple[str, str, int, int]]:
    """Yield module, name, kind and index of the type of each import; the index is that of functions alone."""
    reader = Reader(body)
    for _ in range(reader.number()):
        module, name = reader.name(), reader.name()
        kind, index = reader.byte(), 0
        if kind == KIND_FUNCTION:
            index = reader.number()
        elif kind == _KIND_TABLE:
            reader.value_type()
            reader.limits()
        elif kind == KIND_MEMORY:
            reader.limits()
        elif kind == _KIND_GLOBAL:
            reader.value_type()
            reader.byte()
        else:
            reader.byte()
            reader.number()
        yield module, name, kind, index


class Reader:
    """A cursor over bytes of the binary format."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Read one byte."""
        self.at += 1
        return self.data[self.at - 1]

    def bytes(self, count: int) -> bytes:
        """Read `count` bytes."""
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """Read a number in LEB128, taken as unsigned."""
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - LEB128's bit for "more follows"
                return value

    def name(self) -> str:
        """Read a name."""
        return self.bytes(self.number()).decode()

    def value_type(self) -> str:
        """Read the type of a value, or of a field, as the text format spells it; `ref` for most others."""
        kind = self.byte()
        if kind in {0x63, 0x64}:  # (ref null? heap type): the heap type follows
            self.number()
        return _VALUE_TYPES.get(kind, "ref")

    def value_types(self) -> tuple[str, ...]:
        """Read a list of types."""
        return tuple(self.value_type() for _ in range(self.number()))

    def limits(self) -> tuple[int, int]:
        """Read the limits of a memory or a table: the least, and the most or 65,536."""
        flags = self.byte()
        least = self.number()
        most = self.number() if flags & 1 else _MAX_PAGES
        if flags & 8:
            self.number()  # a custom page size
        return least, most
