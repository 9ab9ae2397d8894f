"""The facts of one module as one screen of text, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from build_tools.base.files import sha256_of
from build_tools.kernel.values import ABI_SECTION, VERSION_SECTION

if TYPE_CHECKING:
    from build_tools.wasm.module import Module

SECTION_NAMES = {
    1: "type",
    2: "import",
    3: "function",
    4: "table",
    5: "memory",
    6: "global",
    7: "export",
    8: "start",
    9: "element",
    10: "code",
    11: "data",
    12: "data count",
    13: "tag",
}


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
        "memories": [{"initial": memory.initial, "maximum": memory.maximum} for memory in module.memories],
        "globals": list(module.globals),
        "functions": module.function_count,
        "start": module.start,
        "sections": [
            {"name": _name(section.id, section.name), "offset": section.offset, "size": section.size}
            for section in module.sections
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
        f"globals   {', '.join(module.globals) or 'none'}",
        f"imports   {', '.join(module.imports) or 'none'}",
        f"start     {'none' if module.start is None else f'function {module.start}'}",
        f"functions {module.function_count}",
        "sections  "
        + ", ".join(f"{_name(section.id, section.name)} {section.size}" for section in module.sections),
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
        f"{memory.initial} page(s) at first, "
        + ("no maximum" if memory.maximum is None else f"at most {memory.maximum}")
        for memory in module.memories
    ]
    return "; ".join(parts) or "none"


def _name(number: int, custom: str) -> str:
    return f"custom `{custom}`" if number == 0 else SECTION_NAMES.get(number, f"unknown {number}")


def _stamp(module: Module, name: str) -> str | None:
    contents = module.find_custom(name)
    return contents[0].decode("utf-8", "replace") if contents else None
