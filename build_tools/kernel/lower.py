"""From the linker's module to one with globals of its own.

Rust cannot name a WebAssembly global. The kernel imports, from a module called `global`, the functions
`get NAME` and `set NAME`, which nobody will ever provide. Here each NAME becomes a mutable global, and each
call the instruction that reads or writes it. A global begins as 0, or as the number in `get NAME=NUMBER`.
From `instruction` it imports the instructions for which the compiler writes more than that.

No opcode is read: the linker's relocations (`--emit-relocs`) say where the calls are. A stack, data and
pointers to functions have relocations too; a kernel has none of them, so they are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import PlaceholderError
from build_tools.kernel.values import PRODUCERS_SECTION, LoweredModule
from build_tools.wasm.module import parse_module
from extism_kernel_pkg import _wasm
from extism_kernel_pkg._wasm import SectionId, encode_unsigned, encode_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.kernel.values import CompiledModule
    from build_tools.wasm.module import Module

    Parts = list[bytes | int]

MODULES = frozenset({"global", "instruction"})
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
TYPES = {"i32": b"\x7f", "i64": b"\x7e", "f32": b"\x7d", "f64": b"\x7c"}
# Mutable, and the opcode of a constant; the number and `end` follow.
CONSTANTS = {"i32": b"\x01\x41", "i64": b"\x01\x42"}
FUNC, END, CALL, LOCAL_GET = b"\x60", b"\x0b", b"\x10", b"\x20"
# A table and globals are the linker's, and nothing refers to them; the rest is made anew.
KNOWN = frozenset(
    {
        *(SectionId.CUSTOM, SectionId.TYPE, SectionId.IMPORT, SectionId.FUNCTION, SectionId.TABLE),
        *(SectionId.MEMORY, SectionId.GLOBAL, SectionId.EXPORT, SectionId.CODE),
    }
)
RELOCATIONS, FUNCTION_INDEX = "reloc.CODE", 0


def lower_module(compiled: CompiledModule) -> LoweredModule:
    """Return the module with globals in place of placeholders.

    Raises `PlaceholderError` with all faults, and as `parse_module` does.
    """
    module = lower(parse_module(compiled.data))
    return LoweredModule(
        module=module,
        sha256=files.sha256_of(module.data),
        version=compiled.version,
        toolchain=compiled.toolchain,
    )


def lower(module: Module) -> Module:
    """Return a module whose placeholders are globals: the same one if it has none.

    An invalid module comes back as it is; what is wrong with it is for the validator to say.
    Raises `PlaceholderError` with all faults.
    """
    if module.invalidity is not None:
        return module
    if all(entry.module not in MODULES for entry in module.parts.imports):
        return module
    lowering = _Lowering(module.parts)
    problems = [*lowering.read_imports(), *lowering.check_rest()]
    if problems:
        raise PlaceholderError(problems)
    return parse_module(lowering.module())


class _Lowering:
    """One module on its way: the bytes that stand for a call of each imported function."""

    def __init__(self, module: _wasm.Module) -> None:
        self.old = module
        self.globals: dict[str, str] = {}
        self.begins: dict[str, int] = {}
        self.instructions: list[bytes] = []

    def read_imports(self) -> Iterator[str]:
        """Note what each import stands for; yield what is wrong with it."""
        for entry in self.old.imports:
            kind = entry.kind if entry.type_index is None else str(self.old.types[entry.type_index])
            if entry.module == "global":
                problem = self._read_global(entry.name, kind)
            elif entry.module == "instruction":
                problem = self._read_instruction(entry.name, kind)
            else:
                problem = f"`{entry.name}` of `{entry.module}` is imported, and nobody will provide it"
            if problem:
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

    def _read_instruction(self, name: str, kind: str) -> str | None:
        wanted, code = INSTRUCTIONS.get(name, ("", b""))
        if not wanted:
            return f"`{name}` should be {' or '.join(f'`{name}`' for name in INSTRUCTIONS)}"
        if kind != wanted:
            return f"`{name}` is `{kind}`, should be `{wanted}`"
        self.instructions.append(code)
        return None

    def check_rest(self) -> Iterator[str]:
        """Yield what the module has besides functions and calls of them."""
        for export in self.old.exports:
            if export.kind == "func" and export.index < self.old.imported("func"):
                yield f"`{self.old.imports[export.index].name}` is exported as `{export.name}`"
        for section in self.old.sections:
            if section.id not in KNOWN:
                yield f"there is a {section.name} section, which a kernel has no use for"
        if not self.old.custom(RELOCATIONS):
            yield f"the linker left no `{RELOCATIONS}`"
        for kind, at in self._relocations():
            if kind != FUNCTION_INDEX or self.old.data[at - 1 : at] != CALL:
                yield f"relocation {kind} at byte {at:#x} is not of a call"

    def _relocations(self) -> Iterator[tuple[int, int]]:
        """Yield the kind and the place of each, up to one of a kind that no call has."""
        code = self.old.section(SectionId.CODE)
        for content in self.old.custom(RELOCATIONS):
            cursor = _wasm.Cursor(content)
            cursor.u32()
            for _ in cursor.vector("relocations"):
                kind = cursor.byte()
                yield kind, (code.offset if code else 0) + cursor.u32()
                if kind != FUNCTION_INDEX:
                    return
                cursor.u32()

    def module(self) -> bytes:
        """Return the new module."""
        bodies = dict(enumerate(self._bodies(), len(self.instructions)))
        found = dict(self._find_aliases(bodies))
        aliases = {number: target for number, target in found.items() if target not in found}
        left = [number for number in bodies if number not in aliases]
        numbers = {old: new for new, old in enumerate(left)}
        numbers.update({number: numbers[target] for number, target in aliases.items()})
        types = list(dict.fromkeys(self.old.function_types[number] for number in left))
        memory = self.old.section(SectionId.MEMORY)
        sections = {
            SectionId.TYPE: [
                FUNC + b"".join(encode_vector(TYPES[value] for value in part) for part in kind)
                for kind in types
            ],
            SectionId.FUNCTION: [
                encode_unsigned(types.index(self.old.function_types[number])) for number in left
            ],
            SectionId.GLOBAL: [
                TYPES[value] + CONSTANTS[value] + _wasm.encode_signed(self.begins[name]) + END
                for name, value in self.globals.items()
            ],
            SectionId.EXPORT: [
                _wasm.encode_export(
                    each.name, each.kind, numbers[each.index] if each.kind == "func" else each.index
                )
                for each in self.old.exports
                if each.kind in {"func", "memory"}
            ],
            SectionId.CODE: [self._code(bodies[number], numbers) for number in left],
        }
        contents = {number: encode_vector(items) for number, items in sections.items() if items}
        if memory:
            contents[SectionId.MEMORY] = memory.content
        out = b"".join(_wasm.encode_section(number, contents[number]) for number in sorted(contents))
        producers = [
            _wasm.encode_custom(PRODUCERS_SECTION, each) for each in self.old.custom(PRODUCERS_SECTION)
        ]
        return _wasm.HEADER + out + b"".join(producers)

    def _bodies(self) -> Iterator[Parts]:
        """Yield each function as bytes and, between them, the numbers of the functions that are called."""
        calls = [at for _, at in self._relocations()]
        for body in self.old.bodies:
            at = body.start
            parts: Parts = []
            while calls and calls[0] < body.end:
                cursor = _wasm.Cursor(self.old.data, calls.pop(0))
                parts += [self.old.data[at : cursor.at - 1], cursor.u32()]
                at = cursor.at
            yield [*parts, self.old.data[at : body.end]]

    def _find_aliases(self, bodies: dict[int, Parts]) -> Iterator[tuple[int, int]]:
        """Yield exported functions that only call another with their own parameters, each with that other.

        The linker cannot give a function two names, so the compiler writes one that only calls.
        """
        types = self.old.function_types
        for export in self.old.exports:
            if export.kind != "func":
                continue
            passed = enumerate(types[export.index].params)
            before = b"\0" + b"".join(LOCAL_GET + encode_unsigned(at) for at, _ in passed)
            for target in bodies:
                if bodies[export.index] == [before, target, END] and types[target] == types[export.index]:
                    yield export.index, target

    def _code(self, body: Parts, numbers: dict[int, int]) -> bytes:
        out = b"".join(part if isinstance(part, bytes) else self._call(part, numbers) for part in body)
        return encode_unsigned(len(out)) + out

    def _call(self, number: int, numbers: dict[int, int]) -> bytes:
        if number < len(self.instructions):
            return self.instructions[number]
        return CALL + encode_unsigned(numbers[number])
