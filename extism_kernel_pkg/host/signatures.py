"""Reads what a module imports, and the types of the functions that it exports.

Not asked of the runtime: its interface for C, and so for Python, ends the process when it is asked for a
type that it has no words for, and a guest may export functions with vectors or objects in their types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.binary import (
    EXPORT,
    FUNCTION,
    IMPORT,
    KIND_FUNCTION,
    TYPE,
    Reader,
    read_imports,
    read_sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.host.contract import Signature

_GROUP: Final = 0x4E
_SUBTYPES: Final = frozenset({0x4F, 0x50})
_FUNCTION_TYPE, _STRUCT, _ARRAY = 0x60, 0x5F, 0x5E


def read_signatures(wasm: bytes) -> dict[str, Signature]:
    """Return the type of each exported function by name; every type of references but two is called `ref`.

    The module must be valid: the runtime has compiled it.
    """
    bodies = {number: body for number, body in read_sections(wasm) if number}
    types = list(_read_types(bodies.get(TYPE, b"\0")))
    imports = read_imports(bodies.get(IMPORT, b"\0"))
    functions = [index for _, _, kind, index in imports if kind == KIND_FUNCTION]
    defined = Reader(bodies.get(FUNCTION, b"\0"))
    functions += [defined.number() for _ in range(defined.number())]
    exports = Reader(bodies.get(EXPORT, b"\0"))
    signatures = {}
    for _ in range(exports.number()):
        name, kind, index = exports.name(), exports.byte(), exports.number()
        if kind == KIND_FUNCTION:
            signatures[name] = types[functions[index]]
    return signatures


def read_import_names(wasm: bytes) -> list[tuple[str, str, int]]:
    """Return module, name and kind of each import. The module must be valid."""
    bodies = {number: body for number, body in read_sections(wasm) if number}
    return [(module, name, kind) for module, name, kind, _ in read_imports(bodies.get(IMPORT, b"\0"))]


def _read_types(body: bytes) -> Iterator[Signature]:
    """Yield the type at each index; what is none of a function stands there as an empty one."""
    reader = Reader(body)
    for _ in range(reader.number()):
        kind = reader.byte()
        if kind == _GROUP:
            for _ in range(reader.number()):
                yield _read_type(reader, reader.byte())
        else:
            yield _read_type(reader, kind)


def _read_type(reader: Reader, kind: int) -> Signature:
    if kind in _SUBTYPES:
        for _ in range(reader.number()):
            reader.number()
        kind = reader.byte()
    if kind == _FUNCTION_TYPE:
        return reader.value_types(), reader.value_types()
    for _ in range(reader.number() if kind == _STRUCT else 1):
        reader.value_type()
        reader.byte()  # whether the field can be changed
    return (), ()
