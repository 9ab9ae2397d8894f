"""Facts about a module: what it has and which features it uses, read with `wasm-tools` (PyPI).

That library reads structure, types and opcodes but neither judges nor objects to much; whether a module is
valid is wasmtime's word (`find_invalidity`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import wasmtime
from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.base.errors import ModuleMalformedError, NotAModuleError
from build_tools.wasm.features import MVP, feature_of
from extism_kernel_pkg import _wasm
from extism_kernel_pkg._wasm import HEADER, MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMPONENT_LAYER = 1

SECTION_CODE = 10
SECTION_DATA_COUNT = 12
SECTION_TAG = 13
TABLE_OPCODES = ("table.", "call_indirect", "return_call_indirect", "elem.")
INDIRECT_CALLS = frozenset({"call_indirect", "return_call_indirect", "call_ref", "return_call_ref"})
NUMERIC_TYPES = frozenset({"i32", "i64", "f32", "f64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section: `offset` and `size` are those of its content, in bytes."""

    id: int
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export; `type` is `(i64) -> i64`, `mut externref`, `memory` or `table`."""

    name: str
    kind: str
    index: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One memory; counts are in pages of 64 KiB, `maximum` is `None` if not declared."""

    initial: int
    maximum: int | None
    is_64: bool
    is_shared: bool
    has_custom_page_size: bool


@dataclass(frozen=True, kw_only=True)  # no slots: two of its values are found when they are asked for
class Module:
    """What a module says about itself; nothing here has been judged.

    The stages of a build hand it on, so that each string of bytes is parsed once.
    """

    data: bytes = field(repr=False)
    sections: tuple[Section, ...]
    imports: tuple[str, ...]
    exports: tuple[Export, ...]
    memories: tuple[Memory, ...]
    globals: tuple[str, ...]
    function_count: int
    start: int | None
    customs: tuple[tuple[str, bytes], ...]
    features: dict[str, str]
    used_globals: frozenset[int]
    uses_table: bool
    loops: tuple[str, ...]
    indirect_calls: tuple[str, ...]
    calls: dict[int, frozenset[int]]
    faults: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.data)

    @functools.cached_property
    def parts(self) -> _wasm.Module:
        """The same module as the strict reader has it; every part raises `InvalidModuleError`."""
        return _wasm.Module(self.data)

    @functools.cached_property
    def invalidity(self) -> str | None:
        """Why wasmtime refuses the module, or `None` if it is valid."""
        return find_invalidity(self.data)

    def find_custom(self, name: str) -> list[bytes]:
        """Return the content of every custom section of that name."""
        return [content for custom, content in self.customs if custom == name]


def function_type(params: Sequence[str], results: Sequence[str]) -> str:
    """Return a function type as the ABI writes it."""
    result = results[0] if len(results) == 1 else f"({', '.join(results)})"
    return f"({', '.join(params)}) -> {result}"


def check_header(data: bytes) -> None:
    """Raise `NotAModuleError` or `ModuleMalformedError` unless `data` starts as a core module does."""
    if not data:
        raise NotAModuleError("the file is empty", where="byte 0", hint="name a `.wasm` file")
    if not data.startswith(MAGIC[: len(data)]):
        raise NotAModuleError(
            f"starts with {data[:4]!r}, a WebAssembly module starts with {MAGIC!r}",
            where="byte 0",
            hint="name a `.wasm` file; text format is turned into one with wat2wasm",
        )
    if len(data) < len(HEADER):
        where = f"byte {len(data)}"
        raise ModuleMalformedError(f"ends after {len(data)} bytes, inside the header", where=where)
    if data[:8] != HEADER:
        if data[6] == COMPONENT_LAYER:
            raise NotAModuleError("is a component, not a core module", where="byte 4")
        number = int.from_bytes(data[4:8], "little")
        raise ModuleMalformedError(f"has binary version {number}, this is 1", where="byte 4")


def find_invalidity(data: bytes) -> str | None:
    """Return why wasmtime, with its default features, refuses a module, or `None` if it is valid."""
    config = wasmtime.Config()
    config.wasm_threads = True  # so that only the feature is named, not a parse error
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    try:
        wasmtime.Module.validate(wasmtime.Engine(config), data)
    except wasmtime.WasmtimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(lines))
    return None


def parse_module(data: bytes) -> Module:
    """Return the facts of a module.

    Raises `NotAModuleError` for bytes of another kind and `ModuleMalformedError` for a broken header.
    Faults further inside are collected in `faults`.
    """
    check_header(data)
    facts = _Facts(data)
    BinaryReader(data, facts).read_module()
    return facts.module()


class _Facts(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    """Collects what the library reports, and the features that its reports betray."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ObjdumpOptions(), ObjdumpState())
        self.bytes = data
        self.faults: list[str] = []
        self.features: dict[str, str] = {}
        self.sections: list[Section] = []
        self.used_globals: set[int] = set()
        self.uses_table = False
        self.loops: list[str] = []
        self.indirect_calls: list[str] = []
        self.calls: dict[int, set[int]] = {}
        self.functions: list[int] = []
        self.function = -1
        self.mnemonic = ""

    def use(self, feature: str, place: str) -> None:
        if feature != MVP:
            self.features.setdefault(feature, place)

    def use_type(self, value: str, place: str) -> None:
        if value == "v128":
            self.use("simd", place)
        elif value in {"funcref", "externref"}:
            self.use("reference-types", place)
        elif value not in NUMERIC_TYPES:
            self.use("gc", place)

    def begin_module(self, version: int) -> None:
        """Print nothing: the library's own method prints a heading."""

    def on_error(self, message: str) -> None:
        self.faults.append(message)

    def begin_section(self, section_index: int, section_code: int, size: int) -> None:
        super().begin_section(section_index, section_code, size)
        self.sections.append(Section(id=section_code, name="", offset=self.offset, size=size))
        if section_code == SECTION_DATA_COUNT:
            self.use("bulk-memory", "data count section")
        if section_code == SECTION_TAG:
            self.use("exception-handling", "tag section")

    def begin_custom_section(self, section_index: int, size: int, section_name: str) -> None:
        super().begin_custom_section(section_index, size, section_name)
        last = self.sections[-1]
        self.sections[-1] = Section(id=0, name=section_name, offset=last.offset + last.size - size, size=size)

    def on_type(self, index: int, params: list[str], results: list[str]) -> None:
        super().on_type(index, params, results)
        for value in (*params, *results):
            self.use_type(value, f"type {index}")
        if len(results) > 1:
            self.use("multi-value", f"type {index}")

    def on_type_kind(self, index: int, kind: str) -> None:
        super().on_type_kind(index, kind)
        if kind != "func":
            self.use("gc", f"type {index}")

    def on_function(self, index: int, sig_index: int) -> None:
        super().on_function(index, sig_index)
        self.functions.append(sig_index)

    def begin_function_body(self, index: int, size: int) -> None:  # noqa: ARG002 - the library's signature
        self.function = index

    def on_local_decl(self, func_idx: int, index: int, count: int, valtype: str) -> None:  # noqa: ARG002
        self.use_type(valtype, f"function {func_idx}, locals")

    def place(self) -> str:
        return f"function {self.function}, offset {self.offset:#x}, `{self.mnemonic}`"

    def on_opcode(self, opcode: object) -> None:
        self.mnemonic = str(getattr(opcode, "name", opcode))
        self.use(feature_of(self.mnemonic), self.place())
        if self.mnemonic == "loop":
            self.loops.append(self.place())
        if self.mnemonic in INDIRECT_CALLS:
            self.indirect_calls.append(self.place())
        self.uses_table |= self.mnemonic.startswith(TABLE_OPCODES)

    def on_opcode_select_t(self, types: list[str]) -> None:  # noqa: ARG002
        self.use("reference-types", self.place())

    def on_opcode_block_sig(self, sig: int) -> None:
        if sig >= 0:
            self.use("multi-value", self.place())

    def on_opcode_index(self, idx: int) -> None:
        if self.mnemonic in {"global.get", "global.set"}:
            self.used_globals.add(idx)
        if self.mnemonic in {"call", "return_call"}:
            self.calls.setdefault(self.function, set()).add(idx)
        if self.mnemonic in {"memory.size", "memory.grow", "memory.fill"} and idx:
            self.use("multi-memory", self.place())

    def on_opcode_uint32_uint32(self, v1: int, v2: int) -> None:
        if self.mnemonic == "memory.copy" and (v1 or v2):
            self.use("multi-memory", self.place())

    def on_call_indirect_expr(self, sig: int, tab: int) -> None:  # noqa: ARG002
        # Before reference types the table's number was one zero byte; a longer zero is the new encoding.
        at = self.offset + 1
        while self.bytes[at] & 0x80:
            at += 1
        if self.bytes[at + 1]:
            self.use("reference-types", self.place())

    def module(self) -> Module:
        state = self.objdump_state
        self._use_of_declarations()
        customs = tuple(
            (section.name, self.bytes[section.offset : section.offset + section.size])
            for section in self.sections
            if section.id == 0
        )
        return Module(
            data=self.bytes,
            sections=tuple(self.sections),
            imports=tuple(f"{entry.module}.{entry.name} ({entry.kind})" for entry in state.imports),
            exports=tuple(self._exports()),
            memories=tuple(
                Memory(
                    initial=entry.limits.minimum,
                    maximum=entry.limits.maximum,
                    is_64=entry.limits.is_64,
                    is_shared=entry.limits.shared,
                    has_custom_page_size=entry.limits.page_size_log2 is not None,
                )
                for entry in filter(None, state.memories)
            ),
            globals=tuple(
                ("mut " if entry.mutable else "") + entry.valtype for entry in filter(None, state.globals)
            ),
            function_count=len(self.functions),
            start=state.start_function,
            customs=customs,
            features=dict(sorted(self.features.items())),
            used_globals=frozenset(self.used_globals),
            uses_table=self.uses_table or bool(state.elements),
            loops=tuple(self.loops),
            indirect_calls=tuple(self.indirect_calls),
            calls={caller: frozenset(called) for caller, called in self.calls.items()},
            faults=tuple(self.faults),
        )

    def _use_of_declarations(self) -> None:
        for feature, place in (
            *self._by_memories(),
            *self._by_tables(),
            *self._by_segments(),
            *self._by_globals(),
        ):
            self.use(feature, place)
        for index, value in enumerate(filter(None, self.objdump_state.globals)):
            self.use_type(value.valtype, f"global {index}")

    def _by_memories(self) -> Iterator[tuple[str, str]]:
        memories = self.objdump_state.memories
        if len(memories) > 1:
            yield "multi-memory", "memory section"
        for memory in filter(None, memories):  # imported ones leave `None` in their place
            if memory.limits.is_64:
                yield "memory64", "memory section"
            if memory.limits.shared:
                yield "threads", "memory section"
            if memory.limits.page_size_log2 is not None:
                yield "custom-page-sizes", "memory section"

    def _by_tables(self) -> Iterator[tuple[str, str]]:
        tables = self.objdump_state.tables
        if len(tables) > 1 or any(
            table.ref_type not in {"func", "funcref"} for table in filter(None, tables)
        ):
            yield "reference-types", "table section"

    def _by_segments(self) -> Iterator[tuple[str, str]]:
        for segment in self.objdump_state.data_segments:
            if segment.mode == "passive":
                yield "bulk-memory", f"data segment {segment.index}"
        for element in self.objdump_state.elements:
            if element.mode != "active":
                yield "bulk-memory", f"element segment {element.index}"

    def _by_globals(self) -> Iterator[tuple[str, str]]:
        for export in self.objdump_state.exports:
            if export.kind == "global" and self._global(export.ref_index).startswith("mut "):
                yield "mutable-globals", f"export `{export.name}`"
        for imported in self.objdump_state.imports:
            if imported.kind == "global" and imported.global_mutable:
                yield "mutable-globals", f"import `{imported.name}`"

    def _global(self, index: int) -> str:
        for entry in filter(None, self.objdump_state.globals):
            if entry.index == index:
                return ("mut " if entry.mutable else "") + str(entry.valtype)
        return "imported"

    def _exports(self) -> list[Export]:
        state = self.objdump_state
        return [
            Export(
                name=entry.name,
                kind=entry.kind,
                index=entry.ref_index,
                type=self._type(entry.kind, entry.ref_index),
            )
            for entry in state.exports
        ]

    def _type(self, kind: str, index: int) -> str:
        state = self.objdump_state
        if kind == "global":
            return self._global(index)
        if kind != "func":
            return kind
        number = state.function_types.get(index)
        if number is None or number >= len(state.types):
            return "unknown"
        return function_type(state.types[number].params, state.types[number].results)
