"""Reads what the suite must know of a module, and rewrites the one thing it imposes: the memory's maximum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.errors import KernelMalformedError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_KERNEL = 1 << 20
"""Bytes; in hex, and together with a plug-in, it has to fit into a line of the protocol."""

MAGIC = b"\0asm\1\0\0\0"
_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_KINDS = ("func", "table", "memory", "global", "tag")
_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT, _START = 0, 1, 2, 3, 5, 6, 7, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A module under test: its bytes, and the facts that surface cases ask for."""

    data: bytes
    sha256: str
    imports: tuple[str, ...]
    exports: dict[str, str]
    """Name to what it is: `(i64) -> i64`, `memory`, `global mut externref`, `table`."""
    initial_pages: int
    maximum_pages: int | None
    memories: int
    has_start: bool
    custom_sections: tuple[str, ...]
    memory_section: tuple[int, int] | None
    """Offsets of the memory section, its id byte included; None if there is none."""

    @property
    def flavour(self) -> str:
        """`context` if the module exports the global `extism_context`, else `core`."""
        return "context" if "extism_context" in self.exports else "core"


def leb128(value: int) -> bytes:
    """Return an unsigned number in LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


class _Reader:
    """Reads a slice of the module; every read past its end is a KernelMalformedError."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self.data, self.position, self.end = data, position, end

    def take(self, count: int) -> bytes:
        if self.position + count > self.end:
            raise KernelMalformedError(
                "the module ends in the middle of a section", where=f"offset {self.position:#x}"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        value, shift = 0, 0
        while shift < 70:
            group = self.byte()
            value |= (group & 0x7F) << shift
            if group < 0x80:
                return value
            shift += 7
        raise KernelMalformedError("a LEB128 number has no end", where=f"offset {self.position:#x}")

    def name(self) -> str:
        return self.take(self.number()).decode("utf-8", "replace")

    def limits(self) -> tuple[int, int | None]:
        flags = self.byte()
        low = self.number()
        return low, self.number() if flags & 1 else None

    def value_type(self) -> str:
        byte = self.byte()
        return _TYPES.get(byte, f"type {byte:#x}")

    def skip_constant(self) -> None:
        """Step over a constant expression: the few opcodes that may stand in a global's initialiser."""
        while (opcode := self.byte()) != 0x0B:
            if opcode in {0x41, 0x42, 0x23, 0xD0, 0xD2}:
                self.number()
            elif opcode in {0x43, 0x44}:
                self.take(4 if opcode == 0x43 else 8)


@dataclass(slots=True)
class _Facts:
    types: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    memories: list[tuple[int, int | None]] = field(default_factory=list)
    exports: dict[str, str] = field(default_factory=dict)
    custom: list[str] = field(default_factory=list)
    has_start: bool = False
    memory_section: tuple[int, int] | None = None


def parse_kernel(data: bytes, *, where: str = "") -> Kernel:
    """Read a module. Raises KernelMalformedError if it is none, or is cut short."""
    if data[:8] != MAGIC:
        raise KernelMalformedError(
            "this is no WebAssembly module: it does not begin with `\\0asm` and version 1",
            where=where,
            hint="give the path of an extism-runtime.wasm",
        )
    facts = _Facts()
    reader = _Reader(data, 8, len(data))
    try:
        while reader.position < reader.end:
            start = reader.position
            identifier, size = reader.byte(), reader.number()
            section = _Reader(data, reader.position, reader.position + size)
            reader.take(size)
            if identifier == _MEMORY:
                facts.memory_section = (start, reader.position)
            _read_section(identifier, section, facts)
    except KernelMalformedError as error:
        raise KernelMalformedError(error.message, where=f"{where or 'module'}, {error.where}") from None
    except IndexError:
        raise KernelMalformedError("an index points outside its section", where=where) from None
    first = facts.memories[0] if facts.memories else (0, None)
    return Kernel(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        imports=tuple(facts.imports),
        exports=facts.exports,
        initial_pages=first[0],
        maximum_pages=first[1],
        memories=len(facts.memories),
        has_start=facts.has_start,
        custom_sections=tuple(facts.custom),
        memory_section=facts.memory_section,
    )


def read_kernel(path: Path) -> Kernel:
    """Read a module from disk. Raises KernelMalformedError, also if the file is unreadable or too large."""
    try:
        kernel = parse_kernel(path.read_bytes(), where=str(path))
    except OSError as error:
        raise KernelMalformedError(f"the kernel cannot be read: {error.strerror}", where=str(path)) from None
    size = len(kernel.data)
    if size > LARGEST_KERNEL:
        raise KernelMalformedError(
            f"the module has {size} bytes, which is no size of a kernel: the most is {LARGEST_KERNEL}",
            where=str(path),
            hint="give the path of an extism-runtime.wasm; a plug-in is none",
        )
    return kernel


def _read_section(identifier: int, section: _Reader, facts: _Facts) -> None:
    if identifier == _CUSTOM:
        facts.custom.append(section.name())
    elif identifier == _START:
        facts.has_start = True
    elif identifier in {_TYPE, _IMPORT, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT}:
        for _ in range(section.number()):
            _read_entry(identifier, section, facts)


def _read_entry(identifier: int, section: _Reader, facts: _Facts) -> None:
    if identifier == _TYPE:
        section.byte()
        parameters = ", ".join(section.value_type() for _ in range(section.number()))
        results = [section.value_type() for _ in range(section.number())]
        result = results[0] if len(results) == 1 else f"({', '.join(results)})"
        facts.types.append(f"({parameters}) -> {result}")
    elif identifier == _IMPORT:
        _read_import(section, facts)
    elif identifier == _FUNCTION:
        facts.functions.append(facts.types[section.number()])
    elif identifier == _MEMORY:
        facts.memories.append(section.limits())
    elif identifier == _GLOBAL:
        facts.globals.append(_read_global_type(section))
        section.skip_constant()
    else:
        name, kind, index = section.name(), _KINDS[section.byte()], section.number()
        known = {"func": facts.functions, "global": facts.globals}.get(kind)
        facts.exports[name] = kind if known is None else known[index]


def _read_import(section: _Reader, facts: _Facts) -> None:
    facts.imports.append(f"{section.name()}.{section.name()}")
    kind = _KINDS[section.byte()]
    if kind == "func":
        facts.functions.append(facts.types[section.number()])
    elif kind == "global":
        facts.globals.append(_read_global_type(section))
    elif kind == "memory":
        facts.memories.append(section.limits())
    else:
        section.byte()
        section.limits() if kind == "table" else section.number()


def _read_global_type(section: _Reader) -> str:
    value_type = section.value_type()
    return f"global mut {value_type}" if section.byte() else f"global {value_type}"


def limit_memory(kernel: Kernel, pages: int) -> bytes:
    """Return the module with its memory's maximum set to `pages`, every other byte as it was.

    Raises ValueError if the module's initial size is already above that, or it has no memory of its own.
    """
    if kernel.memory_section is None or kernel.memories != 1:
        raise ValueError("the module does not define exactly one memory")
    if kernel.initial_pages > pages:
        raise ValueError(f"the module starts with {kernel.initial_pages} pages, the limit is {pages}")
    start, end = kernel.memory_section
    body = b"\x01\x01" + leb128(kernel.initial_pages) + leb128(pages)
    return kernel.data[:start] + bytes((_MEMORY,)) + leb128(len(body)) + body + kernel.data[end:]
