"""The header and the sections of a module, without what is in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm.cursor import Cursor, InvalidModuleError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\0asm"
VERSION = b"\1\0\0\0"
HEADER = MAGIC + VERSION
COMPONENT_LAYER = 1


class SectionId(enum.IntEnum):
    """The ids of sections (core specification, Binary Format, Modules)."""

    CUSTOM = 0
    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    ELEMENT = 9
    CODE = 10
    DATA = 11
    DATA_COUNT = 12
    TAG = 13

    @property
    def label(self) -> str:
        """Return the name of the section in words."""
        return self.name.lower().replace("_", " ")


ORDER = (
    SectionId.TYPE,
    SectionId.IMPORT,
    SectionId.FUNCTION,
    SectionId.TABLE,
    SectionId.MEMORY,
    SectionId.TAG,
    SectionId.GLOBAL,
    SectionId.EXPORT,
    SectionId.START,
    SectionId.ELEMENT,
    SectionId.DATA_COUNT,
    SectionId.CODE,
    SectionId.DATA,
)
"""The order in which sections stand; custom ones may be anywhere."""
_RANK = {section: rank for rank, section in enumerate(ORDER)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of a module: it begins at `start`, its content is `offset` to `end`.

    The content of a custom section begins after its name; `name` of all others is that of their id.
    """

    id: SectionId
    name: str
    start: int
    offset: int
    end: int
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.end - self.offset

    @property
    def content(self) -> bytes:
        """The content, copied."""
        return bytes(self.data[self.offset : self.end])

    def cursor(self) -> Cursor:
        """Return a cursor over the content."""
        return Cursor(self.data, self.offset, self.end)


def is_module(data: bytes) -> bool:
    """Say whether bytes start as a core module does."""
    return data[: len(HEADER)] == HEADER


def check_header(data: bytes) -> None:
    """Raise `InvalidModuleError` unless `data` starts as a core module does."""
    head = bytes(data[: len(HEADER)])
    if not head:
        raise InvalidModuleError("is empty", 0)
    if not head.startswith(MAGIC[: len(head)]):
        raise InvalidModuleError(f"starts with {head[:4]!r}, a WebAssembly module starts with {MAGIC!r}", 0)
    if len(head) < len(HEADER):
        raise InvalidModuleError("ends inside the header", len(head))
    if head[4:] != VERSION:
        if head[6] == COMPONENT_LAYER:
            raise InvalidModuleError("is a component, not a core module", len(MAGIC))
        number = int.from_bytes(head[4:], "little")
        raise InvalidModuleError(f"has binary version {number}, not 1,", len(MAGIC))


def read_sections(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Section]:
    """Yield the sections of the module at `start`, in their order.

    Raises `InvalidModuleError` at the first that is not there whole, is unknown, stands there twice or too
    late, or has a name that is none. What is inside is read by `Module`.
    """
    cursor = Cursor(data, start, end)
    check_header(data[start : start + len(HEADER)])
    cursor.skip(len(HEADER), "the header")
    rank = -1
    while cursor.at < cursor.end:
        section = _read_section(cursor)
        if section.id is not SectionId.CUSTOM:
            if _RANK[section.id] <= rank:
                raise InvalidModuleError(
                    f"the {section.name} section is out of order or repeated", section.start
                )
            rank = _RANK[section.id]
        yield section


def _read_section(cursor: Cursor) -> Section:
    start = cursor.at
    number = cursor.byte()
    if number > SectionId.TAG:
        raise InvalidModuleError(f"section id {number} is unknown", start)
    size = cursor.u32()
    offset = cursor.skip(size, "a section")
    name = SectionId(number).label
    if number == SectionId.CUSTOM:
        inside = Cursor(cursor.data, offset, cursor.at)
        name, offset = inside.name(), inside.at
    return Section(
        id=SectionId(number), name=name, start=start, offset=offset, end=cursor.at, data=cursor.data
    )
