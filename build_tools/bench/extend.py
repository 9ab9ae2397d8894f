"""Adds functions and globals, written as text, to a finished module.

The text is assembled as a module of its own that imports whatever the finished one has, in its order. So each
index means the same in both, and code can be copied from one to the other as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wasmtime

from extism_kernel_pkg._wasm import (
    HEADER,
    ORDER,
    Cursor,
    Module,
    SectionId,
    encode_export,
    encode_section,
    encode_unsigned,
    encode_vector,
    read_module,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

APPENDED = (SectionId.TYPE, SectionId.GLOBAL, SectionId.CODE)
"""Sections whose entries are copied; an export is copied too, and a function's type gets a new number."""


def extend_module(data: bytes, fields: str) -> bytes:
    """Return a module with more fields: functions, globals and exports in text format.

    An exported function of the module is called by its name, `$alloc`; its memory is memory 0. Blocks in the
    text must not have parameters. Custom sections are left out. Raises `InvalidModuleError` for bytes that
    are no module and `wasmtime.WasmtimeError` for text that is none.
    """
    old = read_module(data)
    added = read_module(bytes(wasmtime.wat2wasm(f"(module {' '.join(_imports(old))} {fields})")))
    contents = {section.id: section.content for section in old.sections}
    for number in APPENDED:
        contents[number] = _joined(old, added, number)
    kinds = (*old.functions, *(len(old.types) + kind for kind in added.functions))
    contents[SectionId.FUNCTION] = encode_vector(map(encode_unsigned, kinds))
    exports = (*old.exports, *added.exports)
    contents[SectionId.EXPORT] = encode_vector(
        encode_export(each.name, each.kind, each.index) for each in exports
    )
    sections = (encode_section(number, contents[number]) for number in ORDER if number in contents)
    return HEADER + b"".join(sections)


def prepend_code(data: bytes, name: str, code: bytes) -> bytes:
    """Return a module in which the function exported as `name` begins with more instructions.

    `code` is as in the binary format, and leaves nothing on the stack. Raises `InvalidModuleError` for bytes
    that are no module, and KeyError if no function has that name.
    """
    module = read_module(data)
    exported = {each.name: each.index for each in module.exports if each.kind == "func"}
    chosen = exported[name] - module.imported("func")
    bodies = []
    for number, body in enumerate(module.bodies):
        cursor = Cursor(data, body.start, body.end)
        for _ in cursor.vector("locals"):
            cursor.u32()
            cursor.byte()
        added = code if number == chosen else b""
        content = data[body.start : cursor.at] + added + data[cursor.at : body.end]
        bodies.append(encode_unsigned(len(content)) + content)
    contents = {section.id: section.content for section in module.sections}
    contents[SectionId.CODE] = encode_vector(bodies)
    return HEADER + b"".join(
        encode_section(number, contents[number]) for number in ORDER if number in contents
    )


def _imports(module: Module) -> Iterator[str]:
    """Yield imports of all that a module has, in its order; functions have the names of their exports."""
    names = {each.index: each.name for each in reversed(module.exports) if each.kind == "func"}
    for index, kind in enumerate(module.function_types):
        params, results = (" ".join(values) for values in (kind.params, kind.results))
        name = f"${names.get(index, f'function {index}')}".replace(" ", ".")
        yield f'(import "" "" (func {name} (param {params}) (result {results})))'
    for each in module.globals:
        kind_of_global = each.type.removeprefix("mut ")
        text = kind_of_global if kind_of_global == each.type else f"(mut {kind_of_global})"
        yield f'(import "" "" (global {text}))'
    yield '(import "" "" (memory 0))'


def _joined(old: Module, added: Module, number: SectionId) -> bytes:
    """Return the entries of a section of both modules."""
    count, entries = 0, b""
    for module in (old, added):
        section = module.section(number)
        if section is not None:
            cursor = Cursor(section.data, section.offset, section.end)
            count += cursor.u32()
            entries += section.data[cursor.at : section.end]
    return encode_unsigned(count) + entries
