"""What sections declare: imports, tables, memories, globals, exports, segments, code bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm.constants import read_constant
from extism_kernel_pkg._wasm.cursor import InvalidModuleError
from extism_kernel_pkg._wasm.types import read_mutability, read_value_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg._wasm.cursor import Cursor

KINDS = ("func", "table", "memory", "global", "tag")
"""Kinds of imports and exports by their number."""
HAS_MAXIMUM, IS_SHARED, IS_64, HAS_PAGE_SIZE = 1, 2, 4, 8
"""Bits of limits."""
FUNCREF = "funcref"
TABLE_WITH_VALUE = 0x40
PASSIVE, EXPLICIT, EXPRESSIONS = 1, 2, 4
"""Bits of an element segment; `EXPLICIT` without `PASSIVE` names a table, with it the segment is declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a memory, in pages, or of a table, in entries; `maximum` is None if not declared."""

    minimum: int
    maximum: int | None
    is_64: bool = False
    is_shared: bool = False
    page_size_log2: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import; its bytes are `start` to `end`.

    `type_index` is that of a function or a tag, `type` the text of a global's or a table's, `limits` are
    those of a memory or a table.
    """

    module: str
    name: str
    kind: str
    type_index: int | None
    type: str
    limits: Limits | None
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table that is not imported; `has_value` says whether it gives its entries a first value."""

    type: str
    limits: Limits
    has_value: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Global:
    """One global that is not imported; its bytes are `start` to `end`.

    `type` is like `i64` or `mut externref`; `value` is like `i64.const 5` or `ref.null extern`.
    """

    type: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export: name, kind (`func`, `table`, `memory`, `global`, `tag`), index."""

    name: str
    kind: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One data or element segment: `active`, `passive` or `declared`; its bytes are `start` to `end`."""

    mode: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The code of one function, its locals included: the bytes `start` to `end`."""

    start: int
    end: int


def read_limits(cursor: Cursor) -> Limits:
    """Read limits."""
    start = cursor.at
    flags = cursor.byte()
    if flags > (HAS_MAXIMUM | IS_SHARED | IS_64 | HAS_PAGE_SIZE):
        raise InvalidModuleError(f"{flags:#04x} are no flags of limits", start)
    read = cursor.u64 if flags & IS_64 else cursor.u32
    return Limits(
        minimum=read(),
        maximum=read() if flags & HAS_MAXIMUM else None,
        is_64=bool(flags & IS_64),
        is_shared=bool(flags & IS_SHARED),
        page_size_log2=cursor.u32() if flags & HAS_PAGE_SIZE else None,
    )


def read_imports(cursor: Cursor) -> Iterator[Import]:
    """Yield the imports."""
    for _ in cursor.vector("imports"):
        start = cursor.at
        module, name = cursor.name(), cursor.name()
        kind = _read_kind(cursor)
        type_index, text, limits = None, "", None
        if kind == "func":
            type_index = cursor.u32()
        elif kind == "table":
            text, limits = read_value_type(cursor), read_limits(cursor)
        elif kind == "memory":
            limits = read_limits(cursor)
        elif kind == "global":
            text = _read_global_type(cursor)
        else:
            type_index = read_tag(cursor)
        yield Import(
            module=module,
            name=name,
            kind=kind,
            type_index=type_index,
            type=text,
            limits=limits,
            start=start,
            end=cursor.at,
        )


def read_tag(cursor: Cursor) -> int:
    """Read a tag: a byte that is 0, and the index of its type."""
    start = cursor.at
    if cursor.byte():
        raise InvalidModuleError("is no attribute of a tag", start)
    return cursor.u32()


def read_tables(cursor: Cursor) -> Iterator[Table]:
    """Yield the tables."""
    for _ in cursor.vector("tables"):
        has_value = cursor.data[cursor.at : cursor.at + 1] == bytes((TABLE_WITH_VALUE,))
        if has_value:
            cursor.byte()
            start = cursor.at
            if cursor.byte():
                raise InvalidModuleError("is no table", start)
        kind, limits = read_value_type(cursor), read_limits(cursor)
        if has_value:
            read_constant(cursor)
        yield Table(type=kind, limits=limits, has_value=has_value)


def read_globals(cursor: Cursor) -> Iterator[Global]:
    """Yield the globals."""
    for _ in cursor.vector("globals"):
        start = cursor.at
        kind = _read_global_type(cursor)
        yield Global(type=kind, value=read_constant(cursor), start=start, end=cursor.at)


def read_exports(cursor: Cursor) -> Iterator[Export]:
    """Yield the exports. Raises `InvalidModuleError` also for a name that was there before."""
    names = set()
    for _ in cursor.vector("exports"):
        start = cursor.at
        name = cursor.name()
        if name in names:
            raise InvalidModuleError(f"the name {name!r} is exported twice", start)
        names.add(name)
        kind = _read_kind(cursor)
        yield Export(name=name, kind=kind, index=cursor.u32())


def read_elements(cursor: Cursor) -> Iterator[Segment]:
    """Yield the element segments."""
    for _ in cursor.vector("element segments"):
        start = cursor.at
        flags = cursor.u32()
        if flags > (PASSIVE | EXPLICIT | EXPRESSIONS):
            raise InvalidModuleError(f"{flags:#04x} are no flags of an element segment", start)
        if not flags & PASSIVE:
            if flags & EXPLICIT:
                cursor.u32()
            read_constant(cursor)
        if flags & (PASSIVE | EXPLICIT):
            if flags & EXPRESSIONS:
                read_value_type(cursor)
            elif cursor.byte():
                raise InvalidModuleError("is no kind of element", cursor.at - 1)
        for _ in cursor.vector("elements"):
            if flags & EXPRESSIONS:
                read_constant(cursor)
            else:
                cursor.u32()
        mode = ("declared" if flags & EXPLICIT else "passive") if flags & PASSIVE else "active"
        yield Segment(mode=mode, start=start, end=cursor.at)


def read_data(cursor: Cursor) -> Iterator[Segment]:
    """Yield the data segments."""
    for _ in cursor.vector("data segments"):
        start = cursor.at
        flags = cursor.u32()
        if flags > EXPLICIT:
            raise InvalidModuleError(f"{flags:#04x} are no flags of a data segment", start)
        if flags != PASSIVE:
            if flags & EXPLICIT:
                cursor.u32()
            read_constant(cursor)
        cursor.skip(cursor.u32(), "a data segment")
        yield Segment(mode="passive" if flags == PASSIVE else "active", start=start, end=cursor.at)


def read_bodies(cursor: Cursor) -> Iterator[Body]:
    """Yield the code of each function as a range."""
    for _ in cursor.vector("functions"):
        size = cursor.u32()
        start = cursor.skip(size, "a function")
        yield Body(start=start, end=cursor.at)


def _read_kind(cursor: Cursor) -> str:
    start = cursor.at
    byte = cursor.byte()
    if byte >= len(KINDS):
        raise InvalidModuleError(f"{byte:#04x} is no kind of import or export", start)
    return KINDS[byte]


def _read_global_type(cursor: Cursor) -> str:
    kind = read_value_type(cursor)
    return f"mut {kind}" if read_mutability(cursor) else kind
