"""A module's code as a list of instructions, and the module again after bytes of it were replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .leb128 import read_signed, read_unsigned, write_unsigned
from .opcodes import BLOCK, BULK, CALL_INDIRECT, I32, I64, INDEX, MEMARG, OPCODES, TABLE, ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPE, _IMPORT, _FUNCTION, _GLOBAL, _EXPORT, _CODE = 1, 2, 3, 6, 7, 10
_HEADER = 8
_END = 0x0B
_CONSTANT_KINDS = {0x41: I32, 0x42: I64, 0x23: INDEX, 0xD0: ZERO}
"""What follows the opcodes that a global's first value may begin with."""
_EMPTY_BLOCK = 0x40
_BULK_PREFIX = 0xFC
_FUNC_KIND = 0


class CodeError(ValueError):
    """The module holds something that no kernel may use, so that it cannot be read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: where it lies in the module, its name, its immediates."""

    start: int
    end: int
    name: str
    immediates: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The instruction about as the text format has it."""
        if "load" in self.name or "store" in self.name:
            return f"{self.name} offset={self.immediates[1]}"
        if self.name.startswith("memory.") or not self.immediates:
            return self.name
        return f"{self.name} {' '.join(map(str, self.immediates))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function's body, cut into instructions."""

    index: int
    name: str
    """The export's shortest name; for one that is not exported the linker's, or `function-N`."""
    size_at: int
    start: int
    end: int
    """Offsets of the body's size, of the body, and of what follows it."""
    parameters: int
    results: tuple[int, ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class GlobalType:
    """A global's value type, as its byte, and whether it can be set."""

    value: int
    is_mutable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A module and all its functions."""

    data: bytes
    functions: tuple[Function, ...]
    section_size_at: int
    section_start: int
    section_end: int
    types: tuple[tuple[int, tuple[int, ...]], ...]
    """For each function: the number of parameters, and the result types."""
    globals: tuple[GlobalType, ...] = ()

    def replace(self, function: Function, start: int, end: int, new: bytes) -> bytes:
        """Return the module with the bytes [start, end) of one body replaced, and both sizes set right."""
        body = self.data[function.start : start] + new + self.data[end : function.end]
        return self.with_bodies({function.index: body})

    def with_bodies(self, bodies: dict[int, bytes]) -> bytes:
        """Return the module with whole bodies replaced, by function index."""
        out = bytearray(write_unsigned(len(self.functions)))
        for function in self.functions:
            body = bodies.get(function.index, self.data[function.start : function.end])
            out += write_unsigned(len(body)) + body
        size = write_unsigned(len(out))
        return self.data[: self.section_size_at] + size + bytes(out) + self.data[self.section_end :]


def read_code(data: bytes, names: Mapping[int, str] | None = None) -> Code:
    """Cut a module's code into instructions. Raises CodeError for what no kernel may use.

    `names` are those of functions that are not exported, by index.
    """
    sections = {number: (size_at, start, end) for number, size_at, start, end in read_sections(data)}
    if _IMPORT in sections:
        raise CodeError("the module imports something; a kernel imports nothing (S-1)")
    if not {_TYPE, _FUNCTION, _EXPORT, _CODE} <= sections.keys():
        raise CodeError("the module has no functions or no exports")
    signatures = _read_types(data, sections[_TYPE][1])
    types = tuple(signatures[index] for index in _read_vector(data, sections[_FUNCTION][1]))
    names = {**(names or {}), **read_export_names(data, sections[_EXPORT][1])}
    size_at, start, end = sections[_CODE]
    count, at = read_unsigned(data, start)
    functions = []
    for index in range(count):
        body_size_at = at
        size, at = read_unsigned(data, at)
        functions.append(
            Function(
                index=index,
                name=names.get(index, f"function-{index}"),
                size_at=body_size_at,
                start=at,
                end=at + size,
                parameters=types[index][0],
                results=types[index][1],
                instructions=tuple(_read_body(data, at, at + size)),
            )
        )
        at += size
    return Code(
        data=data,
        functions=tuple(functions),
        section_size_at=size_at,
        section_start=start,
        section_end=end,
        types=types,
        globals=tuple(_read_globals(data, sections[_GLOBAL][1])) if _GLOBAL in sections else (),
    )


def read_sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each section its number and the offsets of its size, its content and what follows it."""
    at = _HEADER
    while at < len(data):
        number = data[at]
        size, start = read_unsigned(data, at + 1)
        yield number, at + 1, start, start + size
        at = start + size


def _read_types(data: bytes, at: int) -> list[tuple[int, tuple[int, ...]]]:
    count, at = read_unsigned(data, at)
    types = []
    for _ in range(count):
        parameters, at = read_unsigned(data, at + 1)
        results, at = read_unsigned(data, at + parameters)
        types.append((parameters, tuple(data[at : at + results])))
        at += results
    return types


def _read_vector(data: bytes, at: int) -> list[int]:
    count, at = read_unsigned(data, at)
    values = []
    for _ in range(count):
        value, at = read_unsigned(data, at)
        values.append(value)
    return values


def read_export_names(data: bytes, at: int) -> dict[int, str]:
    """Return the shortest name under which each function is exported, by index."""
    names: dict[int, str] = {}
    count, at = read_unsigned(data, at)
    for _ in range(count):
        size, at = read_unsigned(data, at)
        name, kind = data[at : at + size].decode(), data[at + size]
        index, at = read_unsigned(data, at + size + 1)
        if kind == _FUNC_KIND and len(name) < len(names.get(index, name + " ")):
            names[index] = name
    return names


def _read_globals(data: bytes, at: int) -> Iterator[GlobalType]:
    count, at = read_unsigned(data, at)
    for _ in range(count):
        yield GlobalType(data[at], data[at + 1] == 1)
        at += 2
        while data[at] != _END:
            if data[at] not in _CONSTANT_KINDS:
                raise CodeError(f"unknown first value of a global at offset {at:#x}")
            _, at = _read_immediate(data, at + 1, _CONSTANT_KINDS[data[at]])
        at += 1


def _read_body(data: bytes, at: int, end: int) -> Iterator[Instruction]:
    groups, at = read_unsigned(data, at)
    for _ in range(groups):
        _, at = read_unsigned(data, at)
        at += 1
    while at < end:
        start = at
        opcode, at = data[at], at + 1
        if opcode == _BULK_PREFIX:
            number, at = read_unsigned(data, at)
            found = BULK.get(number)
        else:
            found = OPCODES.get(opcode)
        if found is None:
            raise CodeError(
                f"unknown instruction {opcode:#04x} at offset {start:#x}; a kernel uses none such (S-5)"
            )
        name, kinds = found
        immediates: list[int] = []
        for kind in kinds:
            values, at = _read_immediate(data, at, kind)
            immediates += values
        yield Instruction(start=start, end=at, name=name, immediates=tuple(immediates))


def _read_immediate(data: bytes, at: int, kind: int) -> tuple[list[int], int]:
    if kind == BLOCK:
        if data[at] == _EMPTY_BLOCK or data[at] > _EMPTY_BLOCK:
            return [data[at]], at + 1
        value, at = read_signed(data, at)
        return [value], at
    if kind in {I32, I64}:
        value, at = read_signed(data, at)
        return [value], at
    counts = {INDEX: 1, ZERO: 1, MEMARG: 2, CALL_INDIRECT: 2}
    if kind == TABLE:
        length, at = read_unsigned(data, at)
        counts[TABLE] = length + 1
    values = []
    for _ in range(counts[kind]):
        value, at = read_unsigned(data, at)
        values.append(value)
    return values, at
