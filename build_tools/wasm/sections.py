"""The sections of a WebAssembly module, without reading what is in them.

`build_tools.wasm.module` reads every opcode, which is right for judging a kernel. Here files of unknown
origin and any size are told apart, and two builds compared, where names and bytes of sections are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import ModuleMalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RawSection", "find_custom", "is_module", "read_export_names", "read_sections", "read_u32"]

HEADER = b"\0asm\1\0\0\0"
NAMES = (
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
)
CUSTOM = 0
EXPORT = 7
LEB_MAX_BYTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSection:
    """One section: its id, its name (a custom section's own), the offset of its content, its content.

    The content of a custom section starts after its name.
    """

    id: int
    name: str
    offset: int
    content: bytes


def is_module(data: bytes) -> bool:
    """Say whether bytes start as a core WebAssembly module does."""
    return data.startswith(HEADER)


def read_sections(data: bytes) -> Iterator[RawSection]:
    """Yield the sections of a module in their order.

    Raises ModuleMalformedError, with the offset, where the module does not hold together.
    """
    if not is_module(data):
        raise ModuleMalformedError("does not start as a WebAssembly module does", where="byte 0")
    at = len(HEADER)
    while at < len(data):
        number = data[at]
        size, start = read_u32(data, at + 1, len(data))
        end = start + size
        if end > len(data):
            raise ModuleMalformedError(
                f"a section of {size} bytes does not fit the {len(data) - start} that are left",
                where=f"byte {at:#x}",
            )
        name = NAMES[number] if number < len(NAMES) else f"unknown {number}"
        if number == CUSTOM:
            name, start = _read_name(data, start, end)
        yield RawSection(id=number, name=name, offset=start, content=data[start:end])
        at = end


def find_custom(data: bytes, name: str) -> bytes | None:
    """Return the content of the first custom section with this name, or None."""
    for section in read_sections(data):
        if section.id == CUSTOM and section.name == name:
            return section.content
    return None


def read_export_names(data: bytes) -> frozenset[str]:
    """Return the names that a module exports. Raises ModuleMalformedError if it does not hold together."""
    names = []
    for section in read_sections(data):
        if section.id == EXPORT:
            content = section.content
            count, at = read_u32(content, 0, len(content))
            for _ in range(count):
                name, at = _read_name(content, at, len(content))
                _, at = read_u32(content, at + 1, len(content))
                names.append(name)
    return frozenset(names)


def _read_name(data: bytes, at: int, end: int) -> tuple[str, int]:
    size, start = read_u32(data, at, end)
    if start + size > end:
        raise ModuleMalformedError("a name runs past the end of its section", where=f"byte {at:#x}")
    try:
        return data[start : start + size].decode("utf-8"), start + size
    except UnicodeDecodeError:
        raise ModuleMalformedError("a name is not UTF-8", where=f"byte {at:#x}") from None


def read_u32(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and the offset after it."""
    value = 0
    for number in range(LEB_MAX_BYTES):
        if at + number >= end:
            break
        byte = data[at + number]
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at + number + 1
    raise ModuleMalformedError("a number is cut short or too long", where=f"byte {at:#x}")
