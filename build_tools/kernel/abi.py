"""`abi.toml` as values: parsed strictly, all faults at once, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from build_tools.base.errors import ContractError
from build_tools.base.project import read_toml
from build_tools.kernel.values import FLAVOURS, Flavour
from build_tools.wasm.features import OPCODE_FEATURES
from extism_kernel_pkg._wasm import ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_VALUE = r"(?:i32|i64|f32|f64)"
_TYPES = rf"\((?:{_VALUE}(?:, {_VALUE})*)?\)"
FUNCTION_TYPE = re.compile(rf"{_TYPES} -> (?:{_VALUE}|\(\))")
GLOBAL_TYPES = frozenset({"i32", "i64", "f32", "f64", "externref", "funcref"})
CLAUSE = re.compile(r"[A-Z]-[1-9]\d*")
NAME = re.compile(r"[a-z_][a-z0-9_]*")
SECTIONS = tuple(section.label for section in ORDER)
# Findings that count only where `structure.refused` names them.
REFUSABLE = ("loop-present", "recursion-present", "indirect-call-present")
KNOWN_FEATURES = frozenset(OPCODE_FEATURES.values()) - {"mvp", "unknown"} | {
    "mutable-globals",
    "multi-value",
    "multi-memory",
    "memory64",
}
HINT = "fix the entry; kernel-src/CONTRACT.md lists the clauses, and the file's own comments the keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiFunction:
    """A function that the kernel exports, under its name and, if it has one, its first name.

    `same_as` names the function that it is another name of.
    """

    name: str
    type: str
    alias: str | None
    same_as: str | None
    since: int
    clauses: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiGlobal:
    """A global that some flavours export."""

    name: str
    type: str
    is_mutable: bool
    flavours: tuple[Flavour, ...]
    since: int
    clauses: tuple[str, ...]
    meaning: str

    @property
    def full_type(self) -> str:
        """Return the type with its mutability, as module facts write it."""
        return f"mut {self.type}" if self.is_mutable else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiMemory:
    """The exported memory; the limits of what it begins with are in pages."""

    name: str
    initial_pages_min: int
    initial_pages_max: int
    since: int
    clauses: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiStructure:
    """What a finished kernel is made of, as a whitelist.

    `sections` are those that may be there besides custom ones. `globals` are the kernel's own, in their
    order, as `mut i64 = i64.const 0`; None for any. `refused` are codes of findings that count only if they
    are named here.
    """

    sections: tuple[str, ...]
    globals: tuple[str, ...] | None
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abi:
    """The contract as data. `size_max` is in bytes of the finished module."""

    version: int
    memory: AbiMemory
    globals: tuple[AbiGlobal, ...]
    functions: tuple[AbiFunction, ...]
    features: dict[Flavour, tuple[str, ...]]
    size_max: dict[Flavour, int]
    structure: AbiStructure

    def expected_exports(self, flavour: Flavour | None, *, with_aliases: bool) -> dict[str, tuple[str, str]]:
        """Return name -> (kind, type) of a flavour; `None` is the compiler's output before the stamp."""
        expected = {self.memory.name: ("memory", "memory")}
        for function in self.functions:
            expected[function.name] = ("func", function.type)
            if with_aliases and function.alias:
                expected[function.alias] = ("func", function.type)
        for entry in self.globals:
            if flavour in entry.flavours:
                expected[entry.name] = ("global", entry.full_type)
        return expected


def read_abi(path: Path) -> Abi:
    """Return the contract. Raises `ContractError` naming every fault in the file."""
    return parse_abi(read_toml(path), where=path)


def parse_abi(table: Mapping[str, Any], *, where: str | Path) -> Abi:
    """Return the contract from parsed TOML. Raises `ContractError` naming every fault in it."""
    reader = _Reader()
    top = reader.table(
        table, "file", ("abi", "memory", "function", "features", "size"), optional=("global", "structure")
    )
    abi = reader.table(top.get("abi"), "abi", ("version",))
    memory = reader.table(
        top.get("memory"),
        "memory",
        ("name", "since", "initial_pages_max", "clauses", "meaning"),
        optional=("initial_pages_min",),
    )
    functions = tuple(
        _function(reader, entry, f"function[{index}]")
        for index, entry in enumerate(reader.tables(top.get("function"), "function"))
    )
    entries = tuple(
        _global(reader, entry, f"global[{index}]")
        for index, entry in enumerate(reader.tables(top.get("global", []), "global"))
    )
    result = Abi(
        version=reader.integer(abi, "abi", "version", least=1),
        memory=AbiMemory(
            name=reader.name(memory, "memory", "name"),
            initial_pages_min=reader.integer(memory, "memory", "initial_pages_min", least=0),
            initial_pages_max=reader.integer(memory, "memory", "initial_pages_max", least=1),
            since=reader.integer(memory, "memory", "since", least=1),
            clauses=reader.clauses(memory, "memory"),
            meaning=reader.text(memory, "memory", "meaning"),
        ),
        globals=entries,
        functions=functions,
        features=_features(reader, top.get("features")),
        size_max=_sizes(reader, top.get("size")),
        structure=_structure(reader, top.get("structure")),
    )
    if not reader.problems:  # a value that was not understood would only be complained about twice
        reader.problems.extend(_across(result))
    if reader.problems:
        raise ContractError(reader.problems, where=where, hint=HINT)
    return result


def _function(reader: _Reader, entry: object, place: str) -> AbiFunction:
    table = reader.table(
        entry, place, ("name", "type", "since", "clauses", "meaning"), optional=("alias", "same_as")
    )
    place = f"{place} `{table['name']}`" if isinstance(table.get("name"), str) else place
    signature = reader.text(table, place, "type")
    if signature and FUNCTION_TYPE.fullmatch(signature) is None:
        reader.say(place, f"`type` is `{signature}`, should be like `(i64, i32) -> i64` or `() -> ()`")
    return AbiFunction(
        name=reader.name(table, place, "name"),
        type=signature,
        alias=reader.name(table, place, "alias") if "alias" in table else None,
        same_as=reader.name(table, place, "same_as") if "same_as" in table else None,
        since=reader.integer(table, place, "since", least=1),
        clauses=reader.clauses(table, place),
        meaning=reader.text(table, place, "meaning"),
    )


def _global(reader: _Reader, entry: object, place: str) -> AbiGlobal:
    keys = ("name", "type", "mutable", "flavours", "since", "clauses", "meaning")
    table = reader.table(entry, place, keys)
    place = f"{place} `{table['name']}`" if isinstance(table.get("name"), str) else place
    value = reader.text(table, place, "type")
    if value and value not in GLOBAL_TYPES:
        reader.say(place, f"`type` is `{value}`, should be one of {', '.join(sorted(GLOBAL_TYPES))}")
    flavours = reader.strings(table, place, "flavours")
    for flavour in flavours:
        if flavour not in FLAVOURS:
            reader.say(place, f"`flavours` names `{flavour}`; there are {', '.join(FLAVOURS)}")
    is_mutable = table.get("mutable")
    if "mutable" in table and not isinstance(is_mutable, bool):
        reader.say(place, f"`mutable` is {is_mutable!r}, should be true or false")
    return AbiGlobal(
        name=reader.name(table, place, "name"),
        type=value,
        is_mutable=is_mutable is True,
        flavours=cast("tuple[Flavour, ...]", flavours),
        since=reader.integer(table, place, "since", least=1),
        clauses=reader.clauses(table, place),
        meaning=reader.text(table, place, "meaning"),
    )


def _features(reader: _Reader, value: object) -> dict[Flavour, tuple[str, ...]]:
    table = reader.table(value, "features", FLAVOURS)
    features: dict[Flavour, tuple[str, ...]] = {}
    for flavour in FLAVOURS:
        features[flavour] = reader.strings(table, "features", flavour)
        for feature in features[flavour]:
            if feature not in KNOWN_FEATURES:
                reader.say(
                    "features", f"`{flavour}` names `{feature}`, which no opcode or section belongs to"
                )
    return features


def _structure(reader: _Reader, value: object) -> AbiStructure:
    if value is None:
        return AbiStructure(sections=SECTIONS, globals=None, refused=())
    table = reader.table(value, "structure", ("sections", "globals", "refused"))
    sections = reader.strings(table, "structure", "sections")
    for section in sections:
        if section not in SECTIONS:
            reader.say("structure", f"`sections` names `{section}`; there are {', '.join(SECTIONS)}")
    refused = reader.strings(table, "structure", "refused")
    for code in refused:
        if code not in REFUSABLE:
            reader.say("structure", f"`refused` names `{code}`; there are {', '.join(REFUSABLE)}")
    entries = table.get("globals")
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        reader.say("structure", f"`globals` is {entries!r}, should be an array of texts")
        entries = []
    return AbiStructure(sections=sections, globals=tuple(entries), refused=refused)


def _sizes(reader: _Reader, value: object) -> dict[Flavour, int]:
    table = reader.table(value, "size", tuple(f"{flavour}_max" for flavour in FLAVOURS))
    return {flavour: reader.integer(table, "size", f"{flavour}_max", least=1) for flavour in FLAVOURS}


def _across(abi: Abi) -> Iterator[str]:
    """Yield the faults that no single entry shows: names used twice, and entries newer than the ABI."""
    names = {function.name: function for function in abi.functions}
    for function in abi.functions:
        other = names.get(function.same_as or "")
        if function.same_as and (other is None or other.type != function.type or other.same_as):
            yield f"`{function.name}`: `same_as` is `{function.same_as}`, which is no function of that type"
    seen: set[str] = set()
    entries: list[AbiFunction | AbiGlobal | AbiMemory] = [abi.memory, *abi.functions, *abi.globals]
    for entry in entries:
        spelled = [entry.name]
        if isinstance(entry, AbiFunction) and entry.alias:
            spelled.append(entry.alias)
        for name in spelled:
            if name and name in seen:
                yield f"`{name}` stands there twice; each name may be exported once"
            seen.add(name)
        if entry.since > abi.version:
            yield f"`{entry.name}`: `since` is {entry.since}, newer than `abi.version` {abi.version}"


class _Reader:
    """Takes typed values out of a table and remembers what is wrong instead of stopping."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def say(self, place: str, problem: str) -> None:
        self.problems.append(f"{place}: {problem}")

    def table(
        self, value: object, place: str, keys: tuple[str, ...], *, optional: tuple[str, ...] = ()
    ) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            if value is not None:
                self.say(place, f"is {type(value).__name__}, should be a table")
            return {}
        for key in sorted(value.keys() - {*keys, *optional}):
            self.say(place, f"unknown key `{key}`; known are {', '.join((*keys, *optional))}")
        for key in keys:
            if key not in value:
                self.say(place, f"`{key}` is missing")
        return value

    def tables(self, value: object, place: str) -> list[object]:
        if isinstance(value, list):
            return value
        if value is not None:
            self.say(place, f"is {type(value).__name__}, should be an array of tables (`[[{place}]]`)")
        return []

    def text(self, table: Mapping[str, Any], place: str, key: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if key in table:
            self.say(place, f"`{key}` is {value!r}, should be a text that is not empty")
        return ""

    def name(self, table: Mapping[str, Any], place: str, key: str) -> str:
        value = self.text(table, place, key)
        if value and NAME.fullmatch(value) is None:
            self.say(place, f"`{key}` is `{value}`, should be of the characters a-z, 0-9 and _")
        return value

    def integer(self, table: Mapping[str, Any], place: str, key: str, *, least: int) -> int:
        value = table.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        if key in table:
            self.say(place, f"`{key}` is {value!r}, should be a whole number of at least {least}")
        return least

    def strings(self, table: Mapping[str, Any], place: str, key: str) -> tuple[str, ...]:
        value = table.get(key)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            for item in sorted({item for item in value if value.count(item) > 1}):
                self.say(place, f"`{key}` names `{item}` twice")
            return tuple(value)
        if key in table:
            self.say(place, f"`{key}` is {value!r}, should be an array of texts")
        return ()

    def clauses(self, table: Mapping[str, Any], place: str) -> tuple[str, ...]:
        clauses = self.strings(table, place, "clauses")
        for clause in clauses:
            if CLAUSE.fullmatch(clause) is None:
                self.say(place, f"`clauses` names `{clause}`, should be like `A-1`")
        return clauses
