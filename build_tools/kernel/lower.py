"""From the linker's module to one with globals of its own.

Rust cannot name a WebAssembly global. The kernel imports, from a module called `global`, the functions
`get NAME` and `set NAME`, which nobody will ever provide. Here each NAME becomes a mutable global, and each
call the instruction that reads or writes it. A global begins as 0, or as the number in `get NAME=NUMBER`. No
store to memory reaches a global.

From a module called `instruction` it imports the instructions for which the compiler writes more than
that. A call becomes the one that its name says.

An export that does nothing but call another function with its own parameters is that function afterwards: the
linker cannot give a function two names, and the compiler writes one that only calls.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import ModuleMalformedError, PlaceholderError
from build_tools.kernel.layout import OPCODES, SECTION_GLOBAL, SECTION_IMPORT, read_layout
from build_tools.kernel.values import LoweredModule
from build_tools.wasm.module import SECTION_CODE, find_invalidity
from extism_kernel_pkg._wasm import (
    HEADER,
    encode_custom,
    encode_export,
    encode_section,
    encode_signed,
    encode_unsigned,
    encode_vector,
    read_sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.kernel.layout import Body, Import, Instruction, Layout
    from build_tools.kernel.values import CompiledModule

GLOBAL, INSTRUCTION = "global", "instruction"
MODULES = frozenset({GLOBAL, INSTRUCTION})
NAME = re.compile(r"(get|set) ([^ =]+)(?:=([0-9]{1,9}))?")
# What a function of that type reads or writes.
VALUES = {
    "get": {"() -> i32": "i32", "() -> i64": "i64"},
    "set": {"(i32) -> ()": "i32", "(i64) -> ()": "i64"},
}
# What may be imported as an instruction: its type and its bytes. All memories are the first.
INSTRUCTIONS = {
    "memory.copy": ("(i32, i32, i32) -> ()", b"\xfc\x0a\0\0"),
    "memory.fill": ("(i32, i32, i32) -> ()", b"\xfc\x0b\0"),
}
# Type, mutable, the opcode of a constant; the number and `end` follow.
BODIES = {"i32": b"\x7f\x01\x41", "i64": b"\x7e\x01\x42"}
END = b"\x0b"
CUSTOM, SECTION_FUNCTION, SECTION_EXPORT, SECTION_START = 0, 3, 7, 8
LOCAL_GET = 0x20
BEFORE_GLOBALS = frozenset({0, 1, 2, 3, 4, 5, 13})
# Exported by the linker for every cdylib; neither guests nor hosts use them.
LINKER_EXPORTS = frozenset({"__data_end", "__heap_base"})


def lower_module(compiled: CompiledModule) -> LoweredModule:
    """Return the module with globals in place of placeholders. Raises `PlaceholderError` with all faults."""
    data = lower(compiled.data)
    return LoweredModule(
        data=data, sha256=files.sha256_of(data), version=compiled.version, toolchain=compiled.toolchain
    )


def lower(data: bytes) -> bytes:
    """Return a module whose placeholders are globals: the same bytes if it has none.

    An invalid module comes back as it is; what is wrong with it is for the validator to say.
    """
    layout = read_layout(data)
    if all(entry.module not in MODULES for entry in layout.imports) or find_invalidity(data) is not None:
        return data
    if layout.faults:
        raise ModuleMalformedError("; ".join(layout.faults), where="the linker's module")
    return _Lowering(data, layout).module()


class _Lowering:
    """One module on its way: which function is which placeholder, and what gets which number."""

    def __init__(self, data: bytes, layout: Layout) -> None:
        self.data = data
        self.layout = layout
        self.placeholders: dict[int, tuple[str, str]] = {}
        self.instructions: dict[int, str] = {}
        self.types: dict[str, str] = {}
        self.begins: dict[str, int] = {}
        self.imported = sum(entry.kind == "global" for entry in layout.imports)
        problems = [*self._read_placeholders(), *self._read_instructions(), *self._check_uses()]
        if problems:
            raise PlaceholderError(problems)
        aliases = dict(self._find_aliases())
        self.aliases = {index: target for index, target in aliases.items() if target not in aliases}
        self.gone = sorted({*self.placeholders, *self.instructions, *self.aliases})
        self.kept = self._count_kept()
        self.numbers = {name: self.imported + self.kept + at for at, name in enumerate(self.types)}

    def _imports_from(self, module: str) -> Iterator[tuple[int, Import]]:
        """Yield each import from a module with its number, if it is a function's."""
        index = -1
        for entry in self.layout.imports:
            index += entry.kind == "func"
            if entry.module == module:
                yield index, entry

    def _read_placeholders(self) -> Iterator[str]:
        for index, entry in self._imports_from(GLOBAL):
            match = NAME.fullmatch(entry.name)
            value = VALUES[match[1]].get(entry.type) if match else None
            if entry.kind != "func":
                yield f"`{entry.name}` is a {entry.kind}, should be a function"
            elif match is None or (match[1] == "set" and match[3]):
                yield f"`{entry.name}` should be `get NAME`, `get NAME=NUMBER` or `set NAME`"
            elif value is None:
                wanted = " or ".join(f"`{text}`" for text in VALUES[match[1]])
                yield f"`{entry.name}` is `{entry.type}`, should be {wanted}"
            elif self.types.setdefault(match[2], value) != value:
                yield f"`{entry.name}` is of {value}, the other of the two is of {self.types[match[2]]}"
            else:
                self.placeholders[index] = (match[1], match[2])
                self.begins[match[2]] = max(int(match[3] or 0), self.begins.get(match[2], 0))

    def _read_instructions(self) -> Iterator[str]:
        for index, entry in self._imports_from(INSTRUCTION):
            wanted = INSTRUCTIONS.get(entry.name, ("",))[0]
            if not wanted:
                yield f"`{entry.name}` should be {' or '.join(f'`{name}`' for name in INSTRUCTIONS)}"
            elif entry.type != wanted:
                yield f"`{entry.name}` is `{entry.type}`, should be `{wanted}`"
            else:
                self.instructions[index] = entry.name

    def _check_uses(self) -> Iterator[str]:
        """Yield what is done with functions that this stage cannot follow."""
        for name, kind, index in self.layout.exports:
            if kind == "func" and self._is_placeholder(index):
                yield f"`{self._name(index)}` is exported as `{name}`"
        for body in self.layout.bodies:
            for item in body.instructions:
                if item.mnemonic == "ref.func":
                    yield f"function {body.function} takes a reference to function {item.index}"
                if item.mnemonic == "return_call" and self._is_placeholder(item.index):
                    yield f"function {body.function} ends with a tail call of `{self._name(item.index)}`"
        for at, entry in enumerate(self.layout.globals, self.imported):
            if not entry.value.startswith(("i32=", "i64=")):
                yield f"global {at} begins as `{entry.value}`, should be a whole number"
        if self.layout.has_elements:
            yield "an element segment holds functions"

    def _is_placeholder(self, index: int) -> bool:
        return index in self.placeholders or index in self.instructions

    def _name(self, index: int) -> str:
        return self.instructions.get(index) or " ".join(self.placeholders[index])

    def _count_kept(self) -> int:
        """Return how many of the linker's globals stay: no markers, no stack pointer that nothing moves.

        Only those at the end go, so that what stays keeps its number.
        """
        count = len(self.layout.globals)
        used = {
            item.index
            for body in self.layout.bodies
            for item in body.instructions
            if item.mnemonic.startswith("global.")
        }
        used |= {
            index
            for name, kind, index in self.layout.exports
            if kind == "global" and name not in LINKER_EXPORTS
        }
        while count and self.imported + count - 1 not in used:
            count -= 1
        return count

    def _find_aliases(self) -> Iterator[tuple[int, int]]:
        """Yield exported functions that only call another of their type, each with that other."""
        exported = {index for _, kind, index in self.layout.exports if kind == "func"}
        types = {body.function: body.type for body in self.layout.bodies}
        for body in self.layout.bodies:
            if body.function not in exported or [item.mnemonic for item in body.instructions] != ["call"]:
                continue
            (item,) = body.instructions
            passes = b"".join(bytes((LOCAL_GET,)) + encode_unsigned(n) for n in range(body.parameters))
            code = b"\0" + passes + self.data[item.start : item.end] + END
            if self.data[body.start : body.end] == code and types.get(item.index) == body.type:
                yield body.function, item.index

    def _function(self, index: int) -> int:
        index = self.aliases.get(index, index)
        return index - sum(gone < index for gone in self.gone)

    def module(self) -> bytes:
        left = [body for body in self.layout.bodies if body.function not in self.aliases]
        sections: dict[int, bytes] = {
            SECTION_IMPORT: self._imports(),
            SECTION_EXPORT: encode_vector(self._exports()),
            SECTION_FUNCTION: encode_vector(encode_unsigned(body.type) for body in left),
            SECTION_CODE: encode_vector(self._body(body) for body in left),
        }
        if self.layout.start is not None:
            sections[SECTION_START] = encode_unsigned(self._function(self.layout.start))
        out = HEADER
        pending = encode_section(SECTION_GLOBAL, self._globals()) if self.kept or self.numbers else b""
        for section in read_sections(self.data):
            if section.id not in BEFORE_GLOBALS and pending:
                out += pending
                pending = b""
            if section.id == CUSTOM:
                # Its indices are those of before; nothing needs it, and the stamp would drop it.
                out += encode_custom(section.name, section.content) if section.name != "name" else b""
            elif section.id != SECTION_GLOBAL:
                content = sections.get(section.id, section.content)
                out += encode_section(section.id, content) if content else b""
        return out + pending

    def _imports(self) -> bytes:
        """Return the import section's content without placeholders, nothing if none is left."""
        left = [self.data[e.start : e.end] for e in self.layout.imports if e.module not in MODULES]
        return encode_vector(left) if left else b""

    def _globals(self) -> bytes:
        kept = [self.data[entry.start : entry.end] for entry in self.layout.globals[: self.kept]]
        ours = [BODIES[value] + encode_signed(self.begins[name]) + END for name, value in self.types.items()]
        return encode_vector([*kept, *ours])

    def _exports(self) -> Iterator[bytes]:
        for name, kind, index in self.layout.exports:
            if kind == "func":
                yield encode_export(name, kind, self._function(index))
            elif kind != "global" or index < self.imported + self.kept:
                yield encode_export(name, kind, index)

    def _body(self, body: Body) -> bytes:
        out = b""
        at = body.start
        for item in body.instructions:
            if item.mnemonic in {"call", "return_call"}:
                out += self.data[at : item.start] + self._call(item)
                at = item.end
        out += self.data[at : body.end]
        return encode_unsigned(len(out)) + out

    def _call(self, item: Instruction) -> bytes:
        if item.index in self.instructions:
            return INSTRUCTIONS[self.instructions[item.index]][1]
        if item.index not in self.placeholders:
            return bytes((OPCODES[item.mnemonic],)) + encode_unsigned(self._function(item.index))
        access, name = self.placeholders[item.index]
        return bytes((OPCODES[f"global.{access}"],)) + encode_unsigned(self.numbers[name])
