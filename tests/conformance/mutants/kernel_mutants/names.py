"""Names for the functions that are not exported, out of the module as the linker left it.

The finished kernel has no `name` section. The linker's module has one, and the same functions in the same
order, but for what a later stage drops: imports, and exported functions that only call another one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .code import CodeError, read_export_names, read_sections
from .leb128 import read_unsigned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .code import Code

_CUSTOM, _IMPORT, _EXPORT, _CODE = 0, 2, 7, 10
_FUNCTION_NAMES = 1
_FUNC, _TABLE, _MEMORY, _GLOBAL = range(4)
_ONLY_CALLS = re.compile(rb"\x00((?:\x20[\x00-\x7f])*)\x10([\x80-\xff]*[\x00-\x7f])\x0b", re.DOTALL)
"""A body without locals: `local.get` of each parameter, `call`, `end`."""
_LEGACY_HASH = re.compile(r"h[0-9a-f]{16}")


class NamesError(ValueError):
    """The module with the names is not the one that the kernel was made of."""


def read_names(raw: bytes, code: Code) -> Mapping[int, str]:
    """Return the linker's names by the kernel's function index, each one once.

    A name is the last part of its path. Where that is taken, the part before goes with it.
    Raises NamesError if the two modules do not hold the same functions.
    """
    sections = {number: start for number, _, start, _ in read_sections(raw) if number != _CUSTOM}
    if not {_CODE, _EXPORT} <= sections.keys():
        raise NamesError("the module with the names has no functions or no exports")
    imported = _count_imported_functions(raw, sections[_IMPORT]) if _IMPORT in sections else 0
    exported = read_export_names(raw, sections[_EXPORT])
    kept = [
        index
        for index, body in enumerate(_read_bodies(raw, sections[_CODE]), imported)
        if not (index in exported and _only_calls(body, imported))
    ]
    here = {each.index: each.name for each in code.functions if not each.name.startswith("function-")}
    there = {place for place, index in enumerate(kept) if index in exported}
    if len(kept) != len(code.functions) or not there <= here.keys():
        raise NamesError(
            f"the module with the names has {len(kept)} functions, the kernel {len(code.functions)}, or they "
            "are exported in another order; build it from the same sources with the same options"
        )
    found = dict(_read_function_names(raw))
    if not found:
        raise NamesError("the module with the names has no `name` section; give the linker's own output")
    paths = {
        place: demangle(found[index])
        for place, index in enumerate(kept)
        if place not in here and index in found
    }
    return _shorten(paths, set(here.values()))


def _read_bodies(raw: bytes, at: int) -> Iterator[bytes]:
    count, at = read_unsigned(raw, at)
    for _ in range(count):
        size, at = read_unsigned(raw, at)
        yield raw[at : at + size]
        at += size


def _only_calls(body: bytes, imported: int) -> bool:
    """Whether a body does nothing but call a function of the module with the parameters it got."""
    match = _ONLY_CALLS.fullmatch(body)
    if match is None or read_unsigned(match[2], 0)[0] < imported:
        return False
    return match[1] == b"".join(bytes((0x20, n)) for n in range(len(match[1]) // 2))


def demangle(symbol: str) -> list[str]:
    """Return the parts of a path that matter in Rust's symbol: modules, function; no types, no digest."""
    if symbol.startswith("_R"):
        return _identifiers(symbol[2:])
    if not symbol.startswith("_ZN"):
        return [symbol]
    parts, at = [], 3
    while match := re.match(r"\d+", symbol[at:]):
        start = at + match.end()
        at = start + int(match[0])
        parts.append(symbol[start:at])
    return [part for part in parts if "$" not in part and not _LEGACY_HASH.fullmatch(part)]


def _identifiers(text: str) -> list[str]:
    """The identifiers of the newer mangling: `4heap10make_place`, digits and then that many letters."""
    parts, at = [], 0
    while at < len(text):
        match = re.match(r"([1-9]\d*)_?", text[at:])
        size = int(match[1]) if match else 0
        start = at + (match.end() if match else 0)
        word = text[start : start + size]
        if match and len(word) == size and word.isidentifier():
            parts.append(word)
            at = start + size
        else:
            at += 1
    return parts


def _shorten(paths: Mapping[int, list[str]], taken: set[str]) -> dict[int, str]:
    last = [path[-1] for path in paths.values()]
    names: dict[int, str] = {}
    for index, path in sorted(paths.items()):
        name = path[-1]
        if last.count(name) > 1 or name in taken:
            name = ".".join(path[-2:])
        if name in names.values() or name in taken:
            name = f"{name}-{index}"
        names[index] = name
    return names


def _count_imported_functions(raw: bytes, at: int) -> int:
    count, at = read_unsigned(raw, at)
    functions = 0
    for _ in range(count):
        for _ in range(2):
            size, at = read_unsigned(raw, at)
            at += size
        kind, at = raw[at], at + 1
        functions += kind == _FUNC
        if kind == _FUNC:
            _, at = read_unsigned(raw, at)
        elif kind == _GLOBAL:
            at += 2
        elif kind in {_TABLE, _MEMORY}:
            at += kind == _TABLE
            flags, at = read_unsigned(raw, at)
            for _ in range(1 + (flags & 1)):
                _, at = read_unsigned(raw, at)
        else:
            raise CodeError(f"unknown kind of import {kind}")
    return functions


def _read_function_names(raw: bytes) -> Iterator[tuple[int, str]]:
    for number, _, start, end in read_sections(raw):
        size, at = read_unsigned(raw, start)
        if number != _CUSTOM or raw[at : at + size] != b"name":
            continue
        at += size
        while at < end:
            kind, (size, at) = raw[at], read_unsigned(raw, at + 1)
            if kind == _FUNCTION_NAMES:
                yield from _read_name_map(raw, at)
            at += size


def _read_name_map(raw: bytes, at: int) -> Iterator[tuple[int, str]]:
    count, at = read_unsigned(raw, at)
    for _ in range(count):
        index, at = read_unsigned(raw, at)
        size, at = read_unsigned(raw, at)
        yield index, raw[at : at + size].decode()
        at += size
