"""One module as its parts, each read when it is asked for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

from extism_kernel_pkg._wasm.cursor import Cursor, InvalidModuleError
from extism_kernel_pkg._wasm.declarations import (
    Body,
    Export,
    Global,
    Import,
    Limits,
    Segment,
    Table,
    read_bodies,
    read_data,
    read_elements,
    read_exports,
    read_globals,
    read_imports,
    read_limits,
    read_tables,
    read_tag,
)
from extism_kernel_pkg._wasm.sections import Section, SectionId, read_sections
from extism_kernel_pkg._wasm.types import FunctionType, read_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
FUNCTION_NAMES = 1
"""The subsection of the name section that names functions."""


def read_module(data: bytes) -> Module:
    """Return a module whose every section but the custom ones has been read. Raises `InvalidModuleError`."""
    module = Module(data)
    module.check()
    return module


class Module:
    """The parts of a module. Making it reads the sections; each part is read at its first use.

    All raise `InvalidModuleError`, with the place. Only what the module itself declares is in `tables`,
    `memories`, `globals` and `functions`; what it imports comes before them in index spaces.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections: tuple[Section, ...] = tuple(read_sections(data))

    def section(self, number: SectionId) -> Section | None:
        """Return the section with that id, or None; of custom sections the first."""
        return next((section for section in self.sections if section.id is number), None)

    def custom(self, name: str) -> list[bytes]:
        """Return the content of every custom section of that name."""
        return [each.content for each in self.sections if each.id is SectionId.CUSTOM and each.name == name]

    @functools.cached_property
    def types(self) -> tuple[FunctionType | None, ...]:
        """The type at each index; None for what is no function's."""
        return self._read(SectionId.TYPE, read_types)

    @functools.cached_property
    def imports(self) -> tuple[Import, ...]:
        """The imports."""
        return self._read(SectionId.IMPORT, read_imports)

    @functools.cached_property
    def functions(self) -> tuple[int, ...]:
        """The index of the type of each function."""
        return self._read(SectionId.FUNCTION, _indices)

    @functools.cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables."""
        return self._read(SectionId.TABLE, read_tables)

    @functools.cached_property
    def memories(self) -> tuple[Limits, ...]:
        """The limits of each memory, in pages."""
        return self._read(
            SectionId.MEMORY, lambda cursor: (read_limits(cursor) for _ in cursor.vector("memories"))
        )

    @functools.cached_property
    def tags(self) -> tuple[int, ...]:
        """The index of the type of each tag."""
        return self._read(SectionId.TAG, lambda cursor: (read_tag(cursor) for _ in cursor.vector("tags")))

    @functools.cached_property
    def globals(self) -> tuple[Global, ...]:
        """The globals."""
        return self._read(SectionId.GLOBAL, read_globals)

    @functools.cached_property
    def exports(self) -> tuple[Export, ...]:
        """The exports."""
        return self._read(SectionId.EXPORT, read_exports)

    @functools.cached_property
    def start(self) -> int | None:
        """The index of the function that runs at instantiation, or None."""
        return next(iter(self._read(SectionId.START, lambda cursor: iter((cursor.u32(),)))), None)

    @functools.cached_property
    def elements(self) -> tuple[Segment, ...]:
        """The element segments."""
        return self._read(SectionId.ELEMENT, read_elements)

    @functools.cached_property
    def data_count(self) -> int | None:
        """How many data segments there are, if it says so."""
        return next(iter(self._read(SectionId.DATA_COUNT, lambda cursor: iter((cursor.u32(),)))), None)

    @functools.cached_property
    def data_segments(self) -> tuple[Segment, ...]:
        """The data segments."""
        return self._read(SectionId.DATA, read_data)

    @functools.cached_property
    def bodies(self) -> tuple[Body, ...]:
        """The code of each function, in the order of `functions`."""
        return self._read(SectionId.CODE, read_bodies)

    @functools.cached_property
    def names(self) -> dict[int, str]:
        """The names of functions by index, from the custom section `name`; empty if it has none."""
        section = next(
            (each for each in self.sections if each.id is SectionId.CUSTOM and each.name == "name"), None
        )
        return {} if section is None else dict(_read_function_names(section.cursor()))

    @functools.cached_property
    def function_types(self) -> tuple[FunctionType, ...]:
        """The type at each index of the function index space, imports first."""
        indices = [entry.type_index or 0 for entry in self.imports if entry.kind == "func"]
        return tuple(self._function_type(index) for index in (*indices, *self.functions))

    def imported(self, kind: str) -> int:
        """Return how many imports are of a kind: where the module's own begin in that index space."""
        return sum(entry.kind == kind for entry in self.imports)

    def check(self) -> None:
        """Read every part but the custom sections. Raises `InvalidModuleError` also where counts disagree."""
        parts: Iterable[object] = (
            self.types,
            self.imports,
            self.functions,
            self.tables,
            self.memories,
            self.tags,
            self.globals,
            self.exports,
            self.start,
            self.elements,
            self.bodies,
            self.data_segments,
            self.function_types,
        )
        del parts
        if len(self.functions) != len(self.bodies):
            raise InvalidModuleError(
                f"{len(self.functions)} functions are declared, {len(self.bodies)} have code",
                self._at(SectionId.CODE),
            )
        if self.data_count is not None and self.data_count != len(self.data_segments):
            message = f"{self.data_count} data segments are announced, {len(self.data_segments)} are there"
            raise InvalidModuleError(message, self._at(SectionId.DATA))

    def _at(self, number: SectionId) -> int:
        section = self.section(number)
        return len(self.data) if section is None else section.start

    def _function_type(self, index: int) -> FunctionType:
        kind = self.types[index] if index < len(self.types) else None
        if kind is None:
            raise InvalidModuleError(
                f"a function is of type {index}, which is no function's", self._at(SectionId.FUNCTION)
            )
        return kind

    def _read(self, number: SectionId, read: Callable[[Cursor], Iterator[T]]) -> tuple[T, ...]:
        section = self.section(number)
        if section is None:
            return ()
        cursor = section.cursor()
        items = tuple(read(cursor))
        cursor.finish(f"the {section.name} section")
        return items


def _indices(cursor: Cursor) -> Iterator[int]:
    for _ in cursor.vector("functions"):
        yield cursor.u32()


def _read_function_names(cursor: Cursor) -> Iterator[tuple[int, str]]:
    while cursor.at < cursor.end:
        number = cursor.byte()
        size = cursor.u32()
        inside = Cursor(cursor.data, cursor.skip(size, "a subsection"), cursor.at)
        if number == FUNCTION_NAMES:
            for _ in inside.vector("names"):
                yield inside.u32(), inside.name()
            inside.finish("the names of functions")
