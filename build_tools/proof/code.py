"""The code of a module as a tree: blocks, branches and plain instructions.

Only what the core flavour of the kernel may contain is decoded (C-1, S-5). Everything else is refused by
name: a proof says nothing about an instruction that it does not model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasm_tools.opcodes import OPCODES

from build_tools.base.errors import ModuleMalformedError
from extism_kernel_pkg._wasm import Cursor, InvalidModuleError, Module, read_module
from extism_kernel_pkg._wasm.types import read_value_type

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX_BULK = 0xFC
EMPTY_TYPE = 0x40
BLOCKS = frozenset({"block", "if"})
INDEXED = frozenset(
    {"br", "br_if", "call", "local.get", "local.set", "local.tee", "global.get", "global.set"}
)
REFUSED = frozenset({"loop", "call_indirect", "return_call", "return_call_indirect", "br_table", "try"})
NAMES = {code: str(entry[0]) for code, entry in OPCODES.items()}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its immediates; `body` and `orelse` are those of a block or an `if`.

    `results` is how many values a block leaves. `at` is the offset in the module, in bytes.
    """

    name: str
    immediates: tuple[int, ...] = ()
    at: int = 0
    body: tuple[Instruction, ...] = ()
    orelse: tuple[Instruction, ...] = ()
    results: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: types as names, and its code."""

    index: int
    params: tuple[str, ...]
    results: tuple[str, ...]
    locals: tuple[str, ...]
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A module as the proof reads it. `globals` has the type of each, `initial` how each begins."""

    functions: tuple[Function, ...]
    exports: dict[str, int]
    globals: tuple[str, ...]
    initial: tuple[int | None, ...]
    pages: int


class UnmodelledCodeError(ModuleMalformedError):
    """The code has an instruction about which nothing can be proved."""

    code = "code-unmodelled"

    def __init__(self, name: str, function: int, at: int) -> None:
        super().__init__(
            f"function {function} contains `{name}`, which the proof does not model",
            where=f"byte {at:#x}",
            hint="prove a finished kernel; `python -m build_tools abi check` says what a module breaks",
        )


def read_program(data: bytes) -> Program:
    """Return the code of a module as trees.

    Raises `ModuleMalformedError` for bytes that are no module, `UnmodelledCodeError` for a module with a
    loop, an indirect call, imports or anything else that no kernel has.
    """
    try:
        module = read_module(data)
    except InvalidModuleError as error:
        raise ModuleMalformedError(error.message, where=f"byte {error.offset:#x}", hint=None) from None
    if module.imports:
        raise UnmodelledCodeError(f"import {module.imports[0].name}", 0, 0)
    return Program(
        functions=tuple(_functions(module)),
        exports={entry.name: entry.index for entry in module.exports if entry.kind == "func"},
        globals=tuple(entry.type.removeprefix("mut ") for entry in module.globals),
        initial=tuple(_initial(entry.value) for entry in module.globals),
        pages=module.memories[0].minimum if module.memories else 0,
    )


def _initial(value: str) -> int | None:
    kind, _, number = value.partition(".const ")
    return int(number, 0) if kind in {"i32", "i64"} else None


def _functions(module: Module) -> Iterator[Function]:
    for index, (kind, body) in enumerate(zip(module.function_types, module.bodies, strict=True)):
        cursor = Cursor(module.data, body.start, body.end)
        declared: list[str] = []
        for _ in range(cursor.u32()):
            count = cursor.u32()
            declared += [read_value_type(cursor)] * count
        code, _ = _Decoder(module, index, cursor).sequence()
        yield Function(
            index=index, params=kind.params, results=kind.results, locals=tuple(declared), body=code
        )


class _Decoder:
    def __init__(self, module: Module, function: int, cursor: Cursor) -> None:
        self.module = module
        self.function = function
        self.cursor = cursor

    def sequence(self) -> tuple[tuple[Instruction, ...], str]:
        """Read up to the `else` or `end` that closes this block, and say which it was."""
        found: list[Instruction] = []
        while True:
            at = self.cursor.at
            name = self._name(at)
            if name in {"else", "end"}:
                return tuple(found), name
            if name in BLOCKS:
                found.append(self._block(name, at))
            else:
                found.append(Instruction(name, self._immediates(name, at), at))

    def _name(self, at: int) -> str:
        first = self.cursor.byte()
        code = (first, self.cursor.u32()) if first == PREFIX_BULK else (0, first)
        name = NAMES.get(code, f"opcode {first:#04x}")
        if name in REFUSED:
            raise UnmodelledCodeError(name, self.function, at)
        return name

    def _block(self, name: str, at: int) -> Instruction:
        if self.cursor.data[self.cursor.at] == EMPTY_TYPE:
            self.cursor.byte()
            results = 0
        else:
            read_value_type(self.cursor)
            results = 1
        body, closed_by = self.sequence()
        orelse: tuple[Instruction, ...] = ()
        if closed_by == "else":
            orelse, _ = self.sequence()
        return Instruction(name, (), at, body, orelse, results)

    def _immediates(self, name: str, at: int) -> tuple[int, ...]:
        cursor = self.cursor
        if name in INDEXED:
            return (cursor.u32(),)
        kind, _, operation = name.partition(".")
        if operation == "const" and kind in {"i32", "i64"}:
            return (cursor.s32() if kind == "i32" else cursor.s64(),)
        if kind in {"i32", "i64"} and operation.startswith(("load", "store")):
            return cursor.u32(), cursor.u32()  # alignment, offset
        if name in {"memory.size", "memory.grow", "memory.fill"}:
            return (cursor.byte(),)
        if name == "memory.copy":
            return cursor.byte(), cursor.byte()
        if name in {"unreachable", "nop", "return", "drop", "select"} or (
            kind in {"i32", "i64"} and not operation.startswith(("trunc", "reinterpret"))
        ):
            return ()
        raise UnmodelledCodeError(name, self.function, at)
