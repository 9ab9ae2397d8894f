"""Checks of what a finished kernel is made of: what abi.toml does not name is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.findings import Finding
from extism_kernel_pkg import _wasm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from build_tools.kernel.abi import Abi
    from build_tools.wasm.module import Module

CODES: dict[str, str] = {
    "section-extra": "a section is there that a kernel does not have",
    "data-present": "there is a data segment; it could fill blocks, or trap at instantiation",
    "element-present": "there is an element segment; a kernel has no table to fill",
    "globals-differ": "number, type or first value of a global is not as the list says",
    "loop-present": "there is a `loop`; a kernel without one cannot hang",
    "recursion-present": "a function calls itself, perhaps through others",
    "indirect-call-present": "there is an indirect call; the code does not say which function it reaches",
}
REFERENCES = "reference-types"
HINT = "if it is meant, name it under `[structure]` in kernel-src/abi.toml"
# Sections that have a finding of their own.
OWN_FINDING = frozenset({"import", "start", "data", "element", "tag"})
NUMBERS = ("i32", "i64", "f32", "f64")


def check_structure(module: Module, abi: Abi, features: tuple[str, ...]) -> Iterator[Finding]:
    """Yield all findings on a finished module; `features` are those that its flavour may use."""
    parts = module.parts
    yield from _check_sections(parts, module, abi)
    yield from _check_globals(parts, abi, features)
    for code, finding in _check_calls(module):
        if code in abi.structure.refused:
            yield finding


def _check_sections(parts: _wasm.Module, module: Module, abi: Abi) -> Iterator[Finding]:
    if parts.data_segments:
        message = f"{len(parts.data_segments)} data segment(s), a kernel has none"
        yield Finding(code="data-present", message=message, where="data section", hint=HINT)
    if parts.elements:
        message = f"{len(parts.elements)} element segment(s), a kernel has none"
        yield Finding(code="element-present", message=message, where="element section", hint=HINT)
    reported = set(OWN_FINDING)
    if module.code.indirect_calls and "indirect-call-present" in abi.structure.refused:
        reported.add("table")
    if parts.data_segments:
        reported.add("data count")
    for section in parts.sections:
        is_custom = section.id is _wasm.SectionId.CUSTOM
        if not is_custom and section.name not in reported and section.name not in abi.structure.sections:
            message = f"a {section.name} section is there, a kernel has {', '.join(abi.structure.sections)}"
            yield Finding(code="section-extra", message=message, where=f"{section.name} section", hint=HINT)


def _check_globals(parts: _wasm.Module, abi: Abi, features: tuple[str, ...]) -> Iterator[Finding]:
    if abi.structure.globals is None:
        return
    exported = {export.index: export.name for export in parts.exports if export.kind == "global"}
    named = {entry.name: entry for entry in abi.globals}
    own = []
    for index, entry in enumerate(parts.globals, parts.imported("global")):
        if index in exported:
            name = exported[index]
            if (
                name in named
                and named[name].full_type == entry.type
                and not entry.value.startswith("ref.null ")
            ):
                message = f"`{name}` begins as `{entry.value}`, should begin as null"
                yield Finding(code="globals-differ", message=message, where=f"global {index}")
        elif entry.type.removeprefix("mut ") in NUMBERS or REFERENCES in features:
            own.append((index, f"{entry.type} = {entry.value}"))
    wanted = abi.structure.globals
    if len(own) != len(wanted):
        message = f"{len(own)} globals of the kernel's own, the list has {len(wanted)}"
        yield Finding(code="globals-differ", message=message, where="global section", hint=HINT)
        return
    for (index, found), expected in zip(own, wanted, strict=True):
        if found != expected:
            message = f"is `{found}`, the list says `{expected}`"
            yield Finding(code="globals-differ", message=message, where=f"global {index}", hint=HINT)


def _check_calls(module: Module) -> Iterator[tuple[str, Finding]]:
    for code, places in (
        ("loop-present", module.code.loops),
        ("indirect-call-present", module.code.indirect_calls),
    ):
        if places:
            message = f"{len(places)} time(s): {CODES[code]}"
            yield code, Finding(code=code, message=message, where=places[0])
    circle = find_circle(module.code.calls)
    if circle:
        way = " -> ".join(f"function {index}" for index in circle)
        finding = Finding(
            code="recursion-present", message=f"{way} calls itself", where=f"function {circle[0]}"
        )
        yield "recursion-present", finding


def find_circle(calls: Mapping[int, frozenset[int]]) -> list[int]:
    """Return functions of which each calls the next, from one back to itself; empty if there are none."""
    is_done: dict[int, bool] = {}  # False while a function is on the way
    for first in sorted(calls):
        if first in is_done:
            continue
        way, left = [first], [iter(sorted(calls[first]))]
        is_done[first] = False
        while way:
            called = next(left[-1], None)
            if called is None:
                is_done[way.pop()] = True
                left.pop()
            elif called not in is_done:
                is_done[called] = False
                way.append(called)
                left.append(iter(sorted(calls.get(called, ()))))
            elif not is_done[called]:
                return [*way[way.index(called) :], called]
    return []
