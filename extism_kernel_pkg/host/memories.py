"""Reads which memories a module defines, and exports those it keeps to itself, so that they count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg._wasm import (
    HEADER,
    ORDER,
    SectionId,
    encode_export,
    encode_section,
    encode_vector,
)

if TYPE_CHECKING:
    from extism_kernel_pkg._wasm import Module

_MAX_PAGES: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedMemory:
    """One memory of a module: the export by which it is reached, and its limits in pages."""

    export: str
    minimum: int
    maximum: int
    index: str
    """The type of its addresses: `i32`, or `i64` (memory64)."""


def export_memories(module: Module) -> tuple[bytes, list[DefinedMemory]]:
    """Return a module with every memory that it defines exported, and the list of these.

    The module must be valid: the runtime has compiled it. Indices stay as they are.
    """
    first = module.imported("memory")
    names: dict[int, str] = {}
    for export in module.exports:
        if export.kind == "memory":
            names.setdefault(export.index, export.name)
    taken = {export.name for export in module.exports}
    added = []
    for index in range(first, first + len(module.memories)):
        if index not in names:
            name = f"extism:host/memory-{index}"
            while name in taken:
                name += "-"
            names[index] = name
            added.append(encode_export(name, "memory", index))
    memories = [
        DefinedMemory(
            export=names[first + at],
            minimum=limits.minimum,
            maximum=_MAX_PAGES if limits.maximum is None else limits.maximum,
            index="i64" if limits.is_64 else "i32",
        )
        for at, limits in enumerate(module.memories)
    ]
    return (_add_exports(module, added) if added else module.data), memories


def _add_exports(module: Module, added: list[bytes]) -> bytes:
    old = [encode_export(export.name, export.kind, export.index) for export in module.exports]
    exports = encode_section(SectionId.EXPORT, encode_vector([*old, *added]))
    later = ORDER[ORDER.index(SectionId.EXPORT) :]
    out, is_done = bytearray(HEADER), False
    for section in module.sections:
        if section.id in later and not is_done:
            out += exports
            is_done = True
        if section.id is not SectionId.EXPORT:
            out += module.data[section.start : section.end]
    return bytes(out if is_done else out + exports)
