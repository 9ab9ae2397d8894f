"""The facts of one module as one screen of text, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from build_tools.base.files import sha256_of
from build_tools.kernel.values import ABI_SECTION, VERSION_SECTION
from extism_kernel_pkg._wasm import SectionId

if TYPE_CHECKING:
    from build_tools.wasm.module import Module
    from extism_kernel_pkg._wasm import Section


def facts_to_data(module: Module, reason: str | None) -> dict[str, Any]:
    """Return the facts for JSON; `reason` is why the module is invalid, or `None`."""
    return {
        "size": module.size,
        "sha256": sha256_of(module.data),
        "is_valid": reason is None,
        "reason": reason,
        "kernel_version": _stamp(module, VERSION_SECTION),
        "abi_version": _stamp(module, ABI_SECTION),
        "features": module.features,
        "imports": list(module.imports),
        "exports": [
            {"name": export.name, "kind": export.kind, "type": export.type, "index": export.index}
            for export in module.exports
        ],
        "memories": [
            {"initial": memory.minimum, "maximum": memory.maximum} for memory in module.parts.memories
        ],
        "globals": [entry.type for entry in module.parts.globals],
        "functions": len(module.parts.functions),
        "start": module.parts.start,
        "sections": [
            {"name": _name(section), "offset": section.offset, "size": section.size}
            for section in module.parts.sections
        ],
    }


def render_facts(module: Module, reason: str | None, *, name: str) -> str:
    """Return the facts as text."""
    version = _stamp(module, VERSION_SECTION)
    stamped = (
        f"extism-kernel {version}, ABI {_stamp(module, ABI_SECTION)}"
        if version
        else "no kernel version inside"
    )
    lines = [
        f"{name}: {module.size:,} bytes, {'valid' if reason is None else 'INVALID: ' + reason}",
        f"sha256    {sha256_of(module.data)}",
        f"stamped   {stamped}",
        f"features  {', '.join(module.features) or 'the MVP only'}",
        f"memory    {_memories(module)}",
        f"globals   {', '.join(entry.type for entry in module.parts.globals) or 'none'}",
        f"imports   {', '.join(module.imports) or 'none'}",
        f"start     {'none' if module.parts.start is None else f'function {module.parts.start}'}",
        f"functions {len(module.parts.functions)}",
        "sections  " + ", ".join(f"{_name(section)} {section.size}" for section in module.parts.sections),
        f"exports   {len(module.exports)}",
    ]
    width = max((len(export.name) for export in module.exports), default=0)
    lines += [
        f"  {export.name:<{width}}  {export.kind:<6} {export.index:>3}  {export.type}"
        for export in module.exports
    ]
    return "\n".join(lines)


def _memories(module: Module) -> str:
    parts = [
        f"{memory.minimum} page(s) at first, "
        + ("no maximum" if memory.maximum is None else f"at most {memory.maximum}")
        for memory in module.parts.memories
    ]
    return "; ".join(parts) or "none"


def _name(section: Section) -> str:
    return f"custom `{section.name}`" if section.id is SectionId.CUSTOM else section.name


def _stamp(module: Module, name: str) -> str | None:
    contents = module.parts.custom(name)
    return contents[0].decode("utf-8", "replace") if contents else None
