"""Which WebAssembly feature an opcode, a type or a declaration needs, from the specification's proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasm_tools.opcodes import OPCODES

from extism_kernel_pkg._wasm import SectionId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg import _wasm

MVP = "mvp"
UNKNOWN = "unknown"
NUMERIC_TYPES = frozenset({"i32", "i64", "f32", "f64"})
REFERENCE_TYPES = frozenset({"funcref", "externref"})

# (prefix byte or 0, first opcode, last opcode) -> feature. What no row covers is unknown, hence forbidden.
_RANGES: tuple[tuple[int, int, int, str], ...] = (
    (0x00, 0x00, 0x05, MVP),
    (0x00, 0x06, 0x0A, "exception-handling"),
    (0x00, 0x0B, 0x11, MVP),
    (0x00, 0x12, 0x13, "tail-call"),
    (0x00, 0x14, 0x15, "function-references"),
    (0x00, 0x18, 0x19, "exception-handling"),
    (0x00, 0x1A, 0x1B, MVP),
    (0x00, 0x1C, 0x1C, "reference-types"),
    (0x00, 0x1F, 0x1F, "exception-handling"),
    (0x00, 0x20, 0x24, MVP),
    (0x00, 0x25, 0x26, "reference-types"),
    (0x00, 0x28, 0xBF, MVP),
    (0x00, 0xC0, 0xC4, "sign-extension"),
    (0x00, 0xD0, 0xD2, "reference-types"),
    (0x00, 0xD3, 0xD3, "gc"),
    (0x00, 0xD4, 0xD6, "function-references"),
    (0xFB, 0x00, 0xFFFF, "gc"),
    (0xFC, 0x00, 0x07, "nontrapping-fptoint"),
    (0xFC, 0x08, 0x0E, "bulk-memory"),
    (0xFC, 0x0F, 0x11, "reference-types"),
    (0xFC, 0x13, 0x16, "wide-arithmetic"),
    (0xFC, 0x30, 0x31, "half-precision"),
    (0xFD, 0x00, 0xFF, "simd"),
    (0xFD, 0x100, 0xFFFF, "relaxed-simd"),
    (0xFE, 0x00, 0xFFFF, "threads"),
)


def _feature(prefix: int, opcode: int) -> str:
    for at, first, last, feature in _RANGES:
        if prefix == at and first <= opcode <= last:
            return feature
    return UNKNOWN


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for (prefix, opcode), (name, _) in OPCODES.items():
        # One mnemonic may have two encodings (`select` with and without types): keep the older feature,
        # the reader reports the newer encoding by itself.
        table.setdefault(name, _feature(prefix, opcode))
    return table


OPCODE_FEATURES: dict[str, str] = _table()


def feature_of(mnemonic: str) -> str:
    """Return the feature that brought an opcode, `mvp`, or `unknown`."""
    return OPCODE_FEATURES.get(mnemonic, UNKNOWN)


def feature_of_type(value: str) -> str:
    """Return the feature that brought a value type, or `mvp`."""
    if value == "v128":
        return "simd"
    if value in REFERENCE_TYPES:
        return "reference-types"
    return MVP if value in NUMERIC_TYPES else "gc"


def declared_features(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    """Yield the feature that each declaration needs (`mvp` among them), and its place."""
    for section in parts.sections:
        if section.id is SectionId.DATA_COUNT:
            yield "bulk-memory", "data count section"
        if section.id is SectionId.TAG:
            yield "exception-handling", "tag section"
    yield from _by_types(parts)
    yield from _by_memories(parts)
    yield from _by_tables(parts)
    yield from _by_segments(parts)
    yield from _by_globals(parts)


def _by_types(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    for index, kind in enumerate(parts.types):
        place = f"type {index}"
        if kind is None:
            yield "gc", place
            continue
        for value in (*kind.params, *kind.results):
            yield feature_of_type(value), place
        if len(kind.results) > 1:
            yield "multi-value", place


def _by_memories(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    imported = [entry.limits for entry in parts.imports if entry.kind == "memory" and entry.limits]
    memories = [*imported, *parts.memories]
    if len(memories) > 1:
        yield "multi-memory", "memory section"
    for limits in memories:
        if limits.is_64:
            yield "memory64", "memory section"
        if limits.is_shared:
            yield "threads", "memory section"
        if limits.page_size_log2 is not None:
            yield "custom-page-sizes", "memory section"


def _by_tables(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    types = [entry.type for entry in parts.imports if entry.kind == "table"]
    types += [table.type for table in parts.tables]
    if len(types) > 1 or any(each != "funcref" for each in types):
        yield "reference-types", "table section"


def _by_segments(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    for index, segment in enumerate(parts.data_segments):
        if segment.mode == "passive":
            yield "bulk-memory", f"data segment {index}"
    for index, segment in enumerate(parts.elements):
        if segment.mode != "active":
            yield "bulk-memory", f"element segment {index}"


def _by_globals(parts: _wasm.Module) -> Iterator[tuple[str, str]]:
    imported = [entry for entry in parts.imports if entry.kind == "global"]
    for entry in imported:
        if entry.type.startswith("mut "):
            yield "mutable-globals", f"import `{entry.name}`"
    types = [*(entry.type for entry in imported), *(entry.type for entry in parts.globals)]
    for export in parts.exports:
        if export.kind == "global" and "".join(types[export.index : export.index + 1]).startswith("mut "):
            yield "mutable-globals", f"export `{export.name}`"
    for index, value in enumerate(types):
        yield feature_of_type(value.removeprefix("mut ")), f"global {index}"
