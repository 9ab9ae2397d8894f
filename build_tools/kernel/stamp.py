"""One compiled module to both flavours: first names, context global, versions; the code stays as it is.

The global section gets one more entry, the export section the aliases and that global, the custom sections
are replaced by ours, and a table or globals that nothing refers to are left out. Indices stay, so no byte of
code has to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import ModuleMalformedError
from build_tools.kernel.values import ABI_SECTION, PRODUCERS_SECTION, VERSION_SECTION, StampedModule
from build_tools.wasm.module import parse_module
from extism_kernel_pkg._wasm import (
    HEADER,
    ORDER,
    SectionId,
    encode_custom,
    encode_export,
    encode_name,
    encode_section,
    encode_vector,
)

if TYPE_CHECKING:
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import Flavour, ValidatedModule
    from build_tools.toolchain.values import Toolchain
    from build_tools.wasm.module import Export, Module

VALUE_BYTES = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C, "funcref": 0x70, "externref": 0x6F}
REF_NULL, END = 0xD0, 0x0B
INTEGERS = ("i32.const ", "i64.const ")


def stamp_module(module: ValidatedModule, abi: Abi, flavour: Flavour) -> StampedModule:
    """Return one flavour of a validated module, the same bytes for the same input."""
    lowered = module.lowered
    raw = lowered.module
    sections = {
        section.id: section.content for section in raw.parts.sections if section.id is not SectionId.CUSTOM
    }
    kept = _kept_globals(raw, abi)
    extra = [entry for entry in abi.globals if flavour in entry.flavours]
    if any(entry.type not in {"externref", "funcref"} for entry in extra):
        raise ModuleMalformedError(
            "only globals of a reference type can be added", where="kernel-src/abi.toml"
        )
    bodies = _global_bodies(raw, kept)
    for entry in extra:
        value = VALUE_BYTES[entry.type]
        bodies.append(bytes((value, entry.is_mutable, REF_NULL, value, END)))
    if bodies:
        sections[SectionId.GLOBAL] = encode_vector(bodies)
    else:
        sections.pop(SectionId.GLOBAL, None)
    if not (raw.code.uses_table or raw.parts.elements):
        sections.pop(
            SectionId.TABLE, None
        )  # the linker writes an empty one, for function pointers that nobody takes
    numbers = {entry.name: kept + at for at, entry in enumerate(extra)}
    sections[SectionId.EXPORT] = encode_vector(_export_entries(raw, abi, numbers))
    data = HEADER
    for number in ORDER:
        if number in sections:
            data += encode_section(number, sections[number])
    data += encode_custom(PRODUCERS_SECTION, _producers(raw, lowered.toolchain))
    data += encode_custom(VERSION_SECTION, lowered.version.encode())
    data += encode_custom(ABI_SECTION, str(abi.version).encode())
    stamped = parse_module(data)
    return StampedModule(
        flavour=flavour,
        data=data,
        sha256=files.sha256_of(data),
        features=tuple(sorted(stamped.features)),
        module=stamped,
    )


def _kept_globals(raw: Module, abi: Abi) -> int:
    """Return how many globals stay.

    Those at the end that nothing refers to are the linker's markers, a stack pointer that no function moves,
    or in a finished module that is stamped again what the last stamp added.
    """
    names = abi.expected_exports(None, with_aliases=True)
    used = set(raw.code.used_globals)
    used.update(export.index for export in raw.exports if export.kind == "global" and export.name in names)
    count = len(raw.parts.globals)
    dropped = {"i32", "mut i32", *(entry.full_type for entry in abi.globals)}
    while count and raw.parts.globals[count - 1].type in dropped and count - 1 not in used:
        count -= 1
    return count


def _global_bodies(raw: Module, count: int) -> list[bytes]:
    """Return the bytes of the first `count` globals: plain constants, which is all a linker writes."""
    kept = raw.parts.globals[:count]
    for number, entry in enumerate(kept):
        if not entry.value.startswith(INTEGERS):
            raise ModuleMalformedError(
                f"global {number} is not an integer constant, which is all that can be kept",
                where="global section",
            )
    return [raw.data[entry.start : entry.end] for entry in kept]


def _export_entries(raw: Module, abi: Abi, numbers: dict[str, int]) -> list[bytes]:
    """Return the export section's entries in the order of the ABI: memory, names, first names, globals."""
    exports: dict[str, Export] = {export.name: export for export in raw.exports}
    # What is missing here was let through by `--allow export-missing`.
    memories = [abi.memory.name] if abi.memory.name in exports else []
    functions = [function for function in abi.functions if function.name in exports]
    entries = [encode_export(name, "memory", exports[name].index) for name in memories]
    entries += [encode_export(function.name, "func", exports[function.name].index) for function in functions]
    entries += [
        encode_export(function.alias, "func", exports[function.name].index)
        for function in functions
        if function.alias is not None
    ]
    entries += [encode_export(name, "global", number) for name, number in numbers.items()]
    return entries


def _producers(raw: Module, toolchain: Toolchain | None) -> bytes:
    """Return the tool-conventions `producers` section with the compiler alone; the rest is said elsewhere."""
    carried = raw.parts.custom(PRODUCERS_SECTION)
    if toolchain is None:
        return carried[0] if carried else encode_vector([])
    compiler = encode_name("rustc") + encode_name(toolchain.version)
    return encode_vector([encode_name("processed-by") + encode_vector([compiler])])
