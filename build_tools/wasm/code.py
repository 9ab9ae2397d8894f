"""What the code of a module does, and the features that its instructions need, read with `wasm-tools` (PyPI).

That library knows every opcode. Structure is read by `extism_kernel_pkg._wasm`; nothing is read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.wasm.features import MVP, feature_of, feature_of_type

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE_OPCODES = ("table.", "call_indirect", "return_call_indirect", "elem.")
INDIRECT_CALLS = frozenset({"call_indirect", "return_call_indirect", "call_ref", "return_call_ref"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The facts of all function bodies; a place is `function 3, offset 0x1f, `loop``.

    `calls` has the functions that each function calls by their index. `faults` are the library's words for
    what it could not read.
    """

    features: Mapping[str, str]
    used_globals: frozenset[int]
    uses_table: bool
    loops: tuple[str, ...]
    indirect_calls: tuple[str, ...]
    calls: Mapping[int, frozenset[int]]
    faults: tuple[str, ...]


NO_CODE = Code(
    features={},
    used_globals=frozenset(),
    uses_table=False,
    loops=(),
    indirect_calls=(),
    calls={},
    faults=(),
)


def read_code(data: bytes) -> Code:
    """Return the facts of the code of a module whose structure is sound."""
    visitor = _Visitor(data)
    BinaryReader(data, visitor).read_module()
    return Code(
        features=visitor.features,
        used_globals=frozenset(visitor.used_globals),
        uses_table=visitor.uses_table,
        loops=tuple(visitor.loops),
        indirect_calls=tuple(visitor.indirect_calls),
        calls={caller: frozenset(called) for caller, called in visitor.calls.items()},
        faults=tuple(visitor.faults),
    )


class _Visitor(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    """Collects what the library reports of instructions, and the features that its reports betray."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ObjdumpOptions(), ObjdumpState())
        self.bytes = data
        self.faults: list[str] = []
        self.features: dict[str, str] = {}
        self.used_globals: set[int] = set()
        self.uses_table = False
        self.loops: list[str] = []
        self.indirect_calls: list[str] = []
        self.calls: dict[int, set[int]] = {}
        self.function = -1
        self.mnemonic = ""

    def use(self, feature: str, place: str) -> None:
        if feature != MVP:
            self.features.setdefault(feature, place)

    def begin_module(self, version: int) -> None:
        """Print nothing: the library's own method prints a heading."""

    def on_error(self, message: str) -> None:
        self.faults.append(message)

    def begin_function_body(self, index: int, size: int) -> None:  # noqa: ARG002 - the library's signature
        self.function = index

    def on_local_decl(self, func_idx: int, index: int, count: int, valtype: str) -> None:  # noqa: ARG002
        self.use(feature_of_type(valtype), f"function {func_idx}, locals")

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
