"""Where a module keeps what a change of indices touches, read with `wasm-tools` (PyPI).

The library tells what it reads but not where; that is taken from its position, and held against the bytes. It
swallows what its listener raises, so doubts are collected in `faults`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.wasm.features import UNKNOWN, feature_of
from build_tools.wasm.module import SECTION_CODE, check_header, function_type
from extism_kernel_pkg._wasm import Cursor, InvalidModuleError

SECTION_IMPORT, SECTION_GLOBAL = 2, 6
END = 0x0B
# As the library reads them: none, numbers, v128, funcref, externref. Of any other it would read a part only.
BLOCK_TYPES = frozenset({-64, -1, -2, -3, -4, -5, -16, -17})
# Instructions of one byte and one index, of a function or a global.
OPCODES = {"call": 0x10, "return_call": 0x12, "global.get": 0x23, "global.set": 0x24, "ref.func": 0xD2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import; `type` is that of a function, or the kind; its bytes are `start` to `end`."""

    module: str
    name: str
    kind: str
    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Global:
    """One global that is not imported; `value` is how it begins; its bytes are `start` to `end`."""

    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction that names a function or a global; its bytes are `start` to `end`."""

    mnemonic: str
    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The code of one function, its locals included; its bytes are `start` to `end`.

    `type` is the number of its type, `parameters` how many values it takes.
    """

    function: int
    type: int
    parameters: int
    start: int
    end: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of a module that hold indices of functions and globals; nothing here has been judged."""

    imports: tuple[Import, ...]
    globals: tuple[Global, ...]
    exports: tuple[tuple[str, str, int], ...]
    start: int | None
    has_elements: bool
    bodies: tuple[Body, ...]
    faults: tuple[str, ...]


def read_layout(data: bytes) -> Layout:
    """Return where the parts are. Faults inside are collected.

    Raises `NotAModuleError` or `ModuleMalformedError` for bytes that do not even start like a module.
    """
    check_header(data)
    listener = _Listener(data)
    listener.reader.read_module()
    return listener.layout()


class _Listener(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    """Notes the reader's position when it tells of something."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ObjdumpOptions(), ObjdumpState())
        self.data = data
        self.reader = BinaryReader(data, self)
        self.faults: list[str] = []
        self.imports: list[Import] = []
        self.globals: list[Global] = []
        self.bodies: list[Body] = []
        self.instructions: list[Instruction] = []
        self.mnemonic = ""
        self.at = 0
        self.body = (0, 0)
        self.ends: dict[int, int] = {}

    def begin_module(self, version: int) -> None:
        """Print nothing: the library's own method prints a heading."""

    def on_error(self, message: str) -> None:
        self.faults.append(message)

    def doubt(self, place: str) -> None:
        self.faults.append(f"{place} cannot be followed")

    def begin_section(self, section_index: int, section_code: int, size: int) -> None:
        super().begin_section(section_index, section_code, size)
        self.ends[section_code] = self.reader.offset + size
        if section_code in {SECTION_IMPORT, SECTION_GLOBAL}:
            self.at = self.past_number(self.reader.offset)

    def past_number(self, at: int) -> int:
        try:
            cursor = Cursor(self.data, at)
            cursor.u32()
        except InvalidModuleError as error:
            self.faults.append(error.message)
            return at
        return cursor.at

    def on_import(self, index: int, module: str, name: str, kind: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().on_import(index, module, name, kind, **kwargs)
        value = kind
        if kind == "func":
            signature = self.objdump_state.types[kwargs["type_index"]]
            value = function_type(signature.params, signature.results)
        start, self.at = self.at, self.reader.offset
        self.imports.append(Import(module=module, name=name, kind=kind, type=value, start=start, end=self.at))

    def on_global(self, index: int, valtype: str, mutable: bool, init_expr: str) -> None:  # noqa: FBT001
        super().on_global(index, valtype, mutable, init_expr)
        start, self.at = self.at, self.reader.offset
        if self.data[self.at - 1] != END:
            self.doubt(f"global {index}")
        self.globals.append(Global(value=init_expr, start=start, end=self.at))

    def begin_function_body(self, index: int, size: int) -> None:  # noqa: ARG002 - the library's signature
        self.body = (self.reader.offset, self.reader.offset + size)
        self.instructions = []

    def on_opcode(self, opcode: object) -> None:
        self.mnemonic = str(getattr(opcode, "name", opcode))
        if feature_of(self.mnemonic) == UNKNOWN:
            self.doubt(f"`{self.mnemonic}` at offset {self.offset:#x}")

    def on_opcode_block_sig(self, sig: int) -> None:
        if sig < 0 and sig not in BLOCK_TYPES:
            self.doubt(f"the type of `{self.mnemonic}` at offset {self.offset:#x}")

    def on_opcode_index(self, idx: int) -> None:
        if self.mnemonic not in OPCODES:
            return
        start, end = self.offset, self.reader.offset
        if self.data[start] != OPCODES[self.mnemonic] or self.past_number(start + 1) != end:
            self.doubt(f"`{self.mnemonic}` at offset {start:#x}")
        self.instructions.append(Instruction(mnemonic=self.mnemonic, index=idx, start=start, end=end))

    def end_function_body(self, func_idx: int) -> None:
        start, end = self.body
        if self.reader.offset != end:
            self.doubt(f"function {func_idx}")
        number = self.objdump_state.function_types.get(func_idx, 0)
        self.bodies.append(
            Body(
                function=func_idx,
                type=number,
                parameters=len(self.objdump_state.types[number].params),
                start=start,
                end=end,
                instructions=tuple(self.instructions),
            )
        )

    def layout(self) -> Layout:
        state = self.objdump_state
        if len(self.bodies) != len(state.function_types):
            self.doubt("code section")
        last = {
            SECTION_IMPORT: self.imports[-1].end if self.imports else None,
            SECTION_GLOBAL: self.globals[-1].end if self.globals else None,
            SECTION_CODE: self.bodies[-1].end if self.bodies else None,
        }
        for number, end in last.items():
            if end is not None and end != self.ends[number]:
                self.doubt(f"section {number}")
        return Layout(
            imports=tuple(self.imports),
            globals=tuple(self.globals),
            exports=tuple((entry.name, entry.kind, entry.ref_index) for entry in state.exports),
            start=state.start_function,
            has_elements=bool(state.elements),
            bodies=tuple(self.bodies),
            faults=tuple(self.faults),
        )
