"""A validator for the part of JSON Schema that the suite uses, so that the runner needs no dependency.

A keyword it does not know is an error when a schema is compiled, never ignored: the schemas cannot outgrow it
unnoticed. The tests compare it with the `jsonschema` package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from extism_kernel_conformance.base.resources import suite_root

Check = Callable[[object, str], Iterator[str]]
Json = Any
"""A schema, a keyword's operand, a document: whatever JSON can hold."""

_ANNOTATIONS = {"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "default"}
_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


@cache
def load_check(file: str, definition: str = "") -> Check:
    """Return the check of a schema file, or of one of its `$defs`."""
    document = json.loads((suite_root() / "schema" / file).read_text(encoding="utf-8"))
    return compile_schema({"$ref": f"#/$defs/{definition}"} if definition else document, document)


def compile_schema(schema: Json, document: Json) -> Check:
    """Return a function that yields one sentence per fault. Raises ValueError for an unknown keyword."""
    checks: list[Check] = []
    for keyword, operand in schema.items():
        if keyword in _ANNOTATIONS or keyword == "additionalProperties":
            continue
        if keyword not in _KEYWORDS:
            raise ValueError(f"schema keyword `{keyword}` is not supported")
        checks.append(_KEYWORDS[keyword](operand, document))
    if "additionalProperties" in schema:
        checks.append(
            _additional(schema["additionalProperties"], set(schema.get("properties", ())), document)
        )

    def check(value: object, path: str) -> Iterator[str]:
        for each in checks:
            yield from each(value, path)

    return check


def _ref(operand: str, document: Json) -> Check:
    compiled: list[Check] = []

    def check(value: object, path: str) -> Iterator[str]:
        if not compiled:  # late, so that definitions may refer to themselves
            compiled.append(compile_schema(document["$defs"][operand.removeprefix("#/$defs/")], document))
        return compiled[0](value, path)

    return check


def _type(operand: str | list[str], _document: Json) -> Check:
    names = [operand] if isinstance(operand, str) else operand
    tests = [_TYPES[name] for name in names]

    def check(value: object, path: str) -> Iterator[str]:
        if not any(test(value) for test in tests):
            yield f"{path or 'the value'} is {_shown(value)}, expected {' or '.join(names)}"

    return check


def _enum(operand: list[object], _document: Json) -> Check:
    def check(value: object, path: str) -> Iterator[str]:
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in operand):
            yield f"{path or 'the value'} is {_shown(value)}, expected {' or '.join(map(_shown, operand))}"

    return check


def _required(operand: list[str], _document: Json) -> Check:
    def check(value: object, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key in operand:
                if key not in value:
                    yield f"{path or 'the object'} lacks `{key}`"

    return check


def _properties(operand: dict[str, Any], document: Json) -> Check:
    checks = {key: compile_schema(each, document) for key, each in operand.items()}

    def check(value: object, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, member in value.items():
                if key in checks:
                    yield from checks[key](member, f"{path}.{key}" if path else key)

    return check


def _additional(operand: Json, known: set[str], document: Json) -> Check:
    inner = None if isinstance(operand, bool) else compile_schema(operand, document)

    def check(value: object, path: str) -> Iterator[str]:
        if not isinstance(value, dict) or operand is True:
            return
        for key in value:
            if key in known:
                continue
            if inner is None:
                yield f"{path or 'the object'} has `{key}`, which has no meaning there"
            else:
                yield from inner(value[key], f"{path}.{key}" if path else key)

    return check


def _items(operand: Json, document: Json) -> Check:
    inner = compile_schema(operand, document)

    def check(value: object, path: str) -> Iterator[str]:
        if isinstance(value, list):
            for index, member in enumerate(value):
                yield from inner(member, f"{path}[{index}]")

    return check


def _pattern(operand: str, _document: Json) -> Check:
    # JSON Schema's `$` is the very end of the text; Python's would let a line end through.
    expression = re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", operand))

    def check(value: object, path: str) -> Iterator[str]:
        if isinstance(value, str) and not expression.search(value):
            yield f"{path or 'the value'} is {_shown(value)}, which does not match {operand}"

    return check


def _bound(
    holds: Callable[[Json, Json], bool],
    words: str,
    measure: Callable[[Json], Json],
    kinds: type | tuple[type, ...],
) -> Callable[[Json, Json], Check]:
    def make(operand: int, _document: Json) -> Check:
        def check(value: object, path: str) -> Iterator[str]:
            if (
                isinstance(value, kinds)
                and not isinstance(value, bool)
                and not holds(measure(value), operand)
            ):
                yield f"{path or 'the value'} is {_shown(value)}, expected {words} {operand}"

        return check

    return make


def _any_of(operand: list[Any], document: Json) -> Check:
    checks = [compile_schema(each, document) for each in operand]

    def check(value: object, path: str) -> Iterator[str]:
        faults = [list(each(value, path)) for each in checks]
        if all(faults):
            yield min(faults, key=len)[0]

    return check


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


_KEYWORDS: dict[str, Callable[[Any, Any], Check]] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": lambda operand, document: _enum([operand], document),
    "required": _required,
    "properties": _properties,
    "items": _items,
    "pattern": _pattern,
    "anyOf": _any_of,
    "minimum": _bound(lambda size, limit: size >= limit, "at least", lambda value: value, (int, float)),
    "maximum": _bound(lambda size, limit: size <= limit, "at most", lambda value: value, (int, float)),
    "minItems": _bound(lambda size, limit: size >= limit, "items, at least", len, list),
    "maxItems": _bound(lambda size, limit: size <= limit, "items, at most", len, list),
    "minLength": _bound(lambda size, limit: size >= limit, "characters, at least", len, str),
    "minProperties": _bound(lambda size, limit: size >= limit, "members, at least", len, dict),
}
