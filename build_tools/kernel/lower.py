"""From the linker's module to one with globals of its own.

Rust cannot name a WebAssembly global. The kernel imports, from a module called `global`, the functions
`get NAME` and `set NAME`, which nobody will ever provide. Here each NAME becomes a mutable global, and each
call the instruction that reads or writes it. A global begins as 0, or as the number in `get NAME=NUMBER`. From
a module called `instruction` it imports the instructions for which the compiler writes more than that.

No opcode is read: the linker's relocations (`--emit-relocs`) say where the calls are. A stack, data and
pointers to functions have relocations too; a kernel has none of them, so they are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.base import files
from build_tools.base.errors import PlaceholderError
from build_tools.kernel.values import PRODUCERS_SECTION, LoweredModule
from build_tools.wasm.module import find_invalidity, function_type
from extism_kernel_pkg._wasm import (
    HEADER,
    encode_custom,
    encode_export,
    encode_section,
    encode_signed,
    encode_unsigned,
    encode_vector,
    find_custom,
    read_sections,
    read_u32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.kernel.values import CompiledModule

NAME = re.compile(r"(get|set) ([^ =]+)(?:=([0-9]{1,9}))?")
# What a function of that type reads or writes.
VALUES = {
    "get": {"() -> i32": "i32", "() -> i64": "i64"},
    "set": {"(i32) -> ()": "i32", "(i64) -> ()": "i64"},
}
ACCESS = {"get": b"\x23", "set": b"\x24"}
# What may be imported as an instruction: its type and its bytes. All memories are the first.
INSTRUCTIONS = {
    "memory.copy": ("(i32, i32, i32) -> ()", b"\xfc\x0a\0\0"),
    "memory.fill": ("(i32, i32, i32) -> ()", b"\xfc\x0b\0"),
}
# Type, mutable, the opcode of a constant; the number and `end` follow.
BODIES = {"i32": b"\x7f\x01\x41", "i64": b"\x7e\x01\x42"}
FUNC, VALUE_TYPES = b"\x60", {"i32": b"\x7f", "i64": b"\x7e", "f32": b"\x7d", "f64": b"\x7c"}
END, CALL, LOCAL_GET = b"\x0b", b"\x10", b"\x20"
TYPE, FUNCTION, MEMORY, GLOBAL, EXPORT, CODE = 1, 3, 5, 6, 7, 10
# Custom sections and the linker's globals (its stack pointer and markers) are made anew or left out.
KNOWN = frozenset({0, TYPE, 2, FUNCTION, 4, MEMORY, GLOBAL, EXPORT, CODE})
EMPTY = frozenset({b"", b"\0"})
RELOCATIONS, FUNCTION_INDEX = "reloc.CODE", 0


def lower_module(compiled: CompiledModule) -> LoweredModule:
    """Return the module with globals in place of placeholders. Raises `PlaceholderError` with all faults."""
    data = lower(compiled.data)
    return LoweredModule(
        data=data, sha256=files.sha256_of(data), version=compiled.version, toolchain=compiled.toolchain
    )


def lower(data: bytes) -> bytes:
    """Return a module whose placeholders are globals: the same bytes if it has none.

    An invalid module comes back as it is; what is wrong with it is for the validator to say.
    Raises `PlaceholderError` with all faults.
    """
    if find_invalidity(data) is not None:
        return data
    lowering = _Lowering(data)
    if not lowering.placeholders:
        return data
    if lowering.problems:
        raise PlaceholderError(lowering.problems)
    return lowering.module()


class _State(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    def begin_module(self, version: int) -> None:
        """Print nothing: the library's own method prints a heading."""


class _Lowering:
    """One module on its way: the bytes that stand for a call of each function, and what is wrong."""

    def __init__(self, data: bytes) -> None:
        listener = _State(data, ObjdumpOptions(), ObjdumpState())
        BinaryReader(data, listener).read_module()
        self.state = listener.objdump_state
        self.data = data
        self.sections = {section.id: section.content for section in read_sections(data)}
        self.globals: dict[str, str] = {}
        self.begins: dict[str, int] = {}
        self.instructions: list[bytes] = []
        self.placeholders = [
            entry for entry in self.state.imports if entry.module in {"global", "instruction"}
        ]
        self.problems = [*self._read_imports(), *self._check_rest()] if self.placeholders else []

    def _read_imports(self) -> Iterator[str]:
        """Note what each imported function stands for; yield what is wrong with it."""
        for entry in self.state.imports:
            kind = entry.kind
            if kind == "func":
                signature = self.state.types[entry.type_index]
                kind = function_type(signature.params, signature.results)
            problem = (
                self._read_global(entry.name, kind)
                if entry.module == "global"
                else self._read_instruction(entry.module, entry.name, kind)
            )
            if problem:
                self.instructions.append(b"")
                yield problem

    def _read_global(self, name: str, kind: str) -> str | None:
        match = NAME.fullmatch(name)
        if match is None or (match[1] == "set" and match[3]):
            return f"`{name}` should be `get NAME`, `get NAME=NUMBER` or `set NAME`"
        access, what = match[1], match[2]
        value = VALUES[access].get(kind)
        if value is None:
            return f"`{name}` is `{kind}`, should be {' or '.join(f'`{text}`' for text in VALUES[access])}"
        if self.globals.setdefault(what, value) != value:
            return f"`{name}` is of {value}, the other of the two is of {self.globals[what]}"
        self.begins[what] = max(int(match[3] or 0), self.begins.get(what, 0))
        self.instructions.append(ACCESS[access] + encode_unsigned(list(self.globals).index(what)))
        return None

    def _read_instruction(self, module: str, name: str, kind: str) -> str | None:
        wanted, code = INSTRUCTIONS.get(name, ("", b""))
        if module != "instruction":
            return f"`{name}` of `{module}` is imported, and nobody will provide it"
        if not wanted:
            return f"`{name}` should be {' or '.join(f'`{name}`' for name in INSTRUCTIONS)}"
        if kind != wanted:
            return f"`{name}` is `{kind}`, should be `{wanted}`"
        self.instructions.append(code)
        return None

    def _check_rest(self) -> Iterator[str]:
        """Yield what the module has besides functions and calls, which cannot be followed."""
        for entry in self.state.exports:
            if entry.kind == "func" and entry.ref_index < len(self.state.imports):
                yield f"`{self.state.imports[entry.ref_index].name}` is exported as `{entry.name}`"
        for number in sorted(self.sections.keys() - KNOWN):
            yield f"the module has a section {number}, which a kernel has no use for"
        if find_custom(self.data, RELOCATIONS) is None:
            yield f"the linker left no `{RELOCATIONS}`"
            return
        code = self.sections.get(CODE, b"\0")
        for kind, at in self._relocations():
            if kind != FUNCTION_INDEX or code[at - 1 : at] != CALL:
                yield f"relocation {kind} at offset {at:#x} of the code is not of a call"

    def _relocations(self) -> Iterator[tuple[int, int]]:
        """Yield the kind and the offset of each relocation up to one of another kind than calls have."""
        content = find_custom(self.data, RELOCATIONS) or b"\0\0"
        at, end = read_u32(content, 0, len(content))[1], len(content)
        count, at = read_u32(content, at, end)
        for _ in range(count):
            kind = content[at]
            offset, at = read_u32(content, at + 1, end)
            at = read_u32(content, at, end)[1]
            yield kind, offset
            if kind != FUNCTION_INDEX:
                return

    def module(self) -> bytes:
        bodies = dict(enumerate(self._bodies(), len(self.instructions)))
        found = dict(self._aliases(bodies))
        aliases = {number: target for number, target in found.items() if target not in found}
        left = [number for number in bodies if number not in aliases]
        numbers = {old: new for new, old in enumerate(left)}
        numbers.update({name: numbers[target] for name, target in aliases.items()})
        types = self.state.function_types
        kept = sorted({types[number] for number in left})
        sections = {
            TYPE: encode_vector(self._type(number) for number in kept),
            FUNCTION: encode_vector(encode_unsigned(kept.index(types[number])) for number in left),
            MEMORY: self.sections.get(MEMORY, b""),
            GLOBAL: encode_vector(
                BODIES[value] + encode_signed(self.begins[name]) + END for name, value in self.globals.items()
            ),
            EXPORT: encode_vector(
                encode_export(
                    entry.name,
                    entry.kind,
                    numbers[entry.ref_index] if entry.kind == "func" else entry.ref_index,
                )
                for entry in self.state.exports
                if entry.kind != "global"
            ),
            CODE: encode_vector(self._code(bodies[number], numbers) for number in left),
        }
        producers = find_custom(self.data, PRODUCERS_SECTION)
        return (
            HEADER
            + b"".join(
                encode_section(number, content)
                for number, content in sections.items()
                if content not in EMPTY
            )
            + (encode_custom(PRODUCERS_SECTION, producers) if producers else b"")
        )

    def _type(self, number: int) -> bytes:
        entry = self.state.types[number]
        params, results = ([VALUE_TYPES[value] for value in part] for part in (entry.params, entry.results))
        return FUNC + encode_vector(params) + encode_vector(results)

    def _bodies(self) -> Iterator[list[bytes | int]]:
        """Yield each function as bytes and, between them, the numbers of the functions that are called."""
        code = self.sections.get(CODE, b"\0")
        calls = [at for _, at in self._relocations()]
        count, at = read_u32(code, 0, len(code))
        for _ in range(count):
            size, at = read_u32(code, at, len(code))
            end = at + size
            parts: list[bytes | int] = []
            while calls and calls[0] < end:
                call = calls.pop(0)
                number, after = read_u32(code, call, end)
                parts += [code[at : call - 1], number]
                at = after
            yield [*parts, code[at:end]]
            at = end

    def _aliases(self, bodies: dict[int, list[bytes | int]]) -> Iterator[tuple[int, int]]:
        """Yield exported functions that only call another with their own parameters, each with that other.

        The linker cannot give a function two names, so the compiler writes one that only calls.
        """
        types = self.state.function_types
        for number in sorted({entry.ref_index for entry in self.state.exports if entry.kind == "func"}):
            before, *rest = bodies[number]
            if len(rest) == 2 and rest[1] == END and isinstance(rest[0], int):  # noqa: PLR2004 - a call, and the end
                passed = self.state.types[types[number]].params
                code = b"\0" + b"".join(LOCAL_GET + encode_unsigned(at) for at in range(len(passed)))
                if before == code and types.get(rest[0]) == types[number] and rest[0] in bodies:
                    yield number, rest[0]

    def _code(self, body: list[bytes | int], numbers: dict[int, int]) -> bytes:
        out = b"".join(part if isinstance(part, bytes) else self._call(part, numbers) for part in body)
        return encode_unsigned(len(out)) + out

    def _call(self, number: int, numbers: dict[int, int]) -> bytes:
        if number < len(self.instructions):
            return self.instructions[number]
        return CALL + encode_unsigned(numbers[number])
