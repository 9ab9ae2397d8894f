"""Reads the types of the functions that a module exports and imports.

Not asked of the runtime: its interface for C, and so for Python, ends the process when it is asked for a
type that it has no words for, and a guest may export functions with vectors or objects in their types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_pkg._wasm import Module
    from extism_kernel_pkg.host.contract import Signature


def read_signatures(module: Module) -> dict[str, Signature]:
    """Return the type of each exported function by name, as the text format spells it.

    The module must be valid: the runtime has compiled it.
    """
    types = module.function_types
    return {export.name: types[export.index] for export in module.exports if export.kind == "func"}


def read_imported_signatures(module: Module) -> dict[tuple[str, str], Signature]:
    """Return the type of each imported function by module and name. The module must be valid."""
    types = module.function_types  # of imported functions first
    functions = (entry for entry in module.imports if entry.kind == "func")
    return {(entry.module, entry.name): types[index] for index, entry in enumerate(functions)}
