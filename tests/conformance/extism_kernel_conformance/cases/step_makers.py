"""One function for each kind of step: from JSON to a value of `steps`."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.resources import contract_types
from extism_kernel_conformance.cases import steps as s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_conformance.cases.step_parser import Json, StepParser

KEYS: Mapping[str, tuple[str, ...]] = {
    "call": ("args", "bind", "expect", "instance", "fuel", "expect_trap"),
    "write": ("hex", "fill", "len", "instance"),
    "read": ("len", "expect", "expect_fill", "instance"),
    "pages": ("bind", "instance"),
    "grow": ("bind", "expect", "instance"),
    "global": ("expect", "instance"),
    "exports": (),
    "module": (),
    "let": ("be",),
    "instantiate": (),
    "drop": (),
    "repeat": ("index", "fuel", "steps"),
    "for": ("in", "steps"),
    "cut": ("every", "max", "then"),
}
"""Each kind of step by its first key, then the keys that may stand beside it."""


def _call(parser: StepParser, value: Json, where: str) -> s.Call:
    name, args = value["call"], value.get("args", [])
    if not isinstance(name, str) or name not in contract_types():
        close = difflib.get_close_matches(str(name), contract_types(), 1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        parser.fault(where, f"{name!r} is no function of the contract (surface.json){hint}")
        name, args = "reset", []
    if not isinstance(args, list):
        parser.fault(f"{where}.args", "`args` is a list")
        args = []
    elif len(args) != arity_of(name):
        parser.fault(f"{where}.args", f"`{name}` is {contract_types()[name]}, got {len(args)} arguments")
    if result_of(name) == "()" and (value.keys() & {"expect", "bind"}):
        parser.fault(where, f"`{name}` returns nothing, so `expect` and `bind` have no meaning")
    trap = value.get("expect_trap")
    if "expect_trap" in value and trap not in (*s.TRAP_KINDS, "any"):
        parser.fault(
            f"{where}.expect_trap", f"{trap!r} is no trap kind; known are any, {', '.join(s.TRAP_KINDS)}"
        )
    if trap is not None and value.keys() & {"expect", "bind"}:
        parser.fault(where, "a call that traps has no result: drop `expect` and `bind`, or `expect_trap`")
    if "fuel" in value:
        parser.needs.add("fuel")
    return s.Call(
        where=where,
        name=name,
        args=tuple(parser.expression(each, f"{where}.args[{i}]") for i, each in enumerate(args)),
        instance=parser.instance(value, where),
        fuel=parser.expression(value["fuel"], f"{where}.fuel") if "fuel" in value else None,
        expect=parser.expectation(value["expect"], f"{where}.expect") if "expect" in value else None,
        expect_trap=trap if isinstance(trap, str) else None,
        bind=parser.target(value["bind"], f"{where}.bind") if "bind" in value else None,
    )


def _write(parser: StepParser, value: Json, where: str) -> s.Write:
    if ("hex" in value) == ("fill" in value) or ("fill" in value) != ("len" in value):
        parser.fault(where, "give the bytes as `hex`, or as `fill` (one byte) with `len`")
    if "hex" in value:
        data = parser.hexadecimal(value["hex"], f"{where}.hex")
    else:
        data = parser.hexadecimal(value.get("fill", "00"), f"{where}.fill", length=1)
    return s.Write(
        where=where,
        address=parser.expression(value["write"], f"{where}.write"),
        data=data,
        length=parser.expression(value["len"], f"{where}.len") if "len" in value else None,
        instance=parser.instance(value, where),
    )


def _read(parser: StepParser, value: Json, where: str) -> s.Read:
    if "expect" in value and "expect_fill" in value:
        parser.fault(where, "give `expect` (hex) or `expect_fill` (one byte), not both")
    if "len" not in value:
        parser.fault(where, "`read` needs `len`, the number of bytes")
    expect = parser.hexadecimal(value["expect"], f"{where}.expect") if "expect" in value else None
    length = parser.expression(value.get("len", 0), f"{where}.len")
    if expect is not None and not length.variables() and length.evaluate(_no_variable) != len(expect):
        parser.fault(where, f"`len` is {length.text}, but `expect` holds {len(expect)} bytes")
    fill = (
        parser.hexadecimal(value["expect_fill"], f"{where}.expect_fill", length=1)
        if "expect_fill" in value
        else None
    )
    return s.Read(
        where=where,
        address=parser.expression(value["read"], f"{where}.read"),
        length=length,
        expect=expect,
        expect_fill=None if not fill else fill[0],
        instance=parser.instance(value, where),
    )


def _pages(parser: StepParser, value: Json, where: str) -> s.Pages:
    return s.Pages(
        where=where,
        expect=parser.expectation(value["pages"], f"{where}.pages"),
        instance=parser.instance(value, where),
        bind=parser.target(value["bind"], f"{where}.bind") if "bind" in value else None,
    )


def _grow(parser: StepParser, value: Json, where: str) -> s.Grow:
    parser.needs.add("grow")
    expect = value.get("expect")
    return s.Grow(
        where=where,
        pages=parser.expression(value["grow"], f"{where}.grow"),
        expect=None
        if expect is None
        else parser.expectation(s.REFUSED if expect == "refused" else expect, f"{where}.expect"),
        instance=parser.instance(value, where),
        bind=parser.target(value["bind"], f"{where}.bind") if "bind" in value else None,
    )


def _global(parser: StepParser, value: Json, where: str) -> s.Global:
    expect = value.get("expect")
    if not isinstance(expect, str) or not re.fullmatch(
        r"externref:null|(i32|i64):\d+|f(32|64):[0-9a-f]+", expect
    ):
        parser.fault(
            f"{where}.expect", f"expected a typed value like `externref:null` or `i64:8`, got {expect!r}"
        )
    name = parser.word(value["global"], f"{where}.global", "a global")
    if name == "extism_context":  # one flavour has it, and only runtimes with reference types load that one
        parser.needs |= {"context", "externref"}
    return s.Global(where=where, name=name, expect=str(expect), instance=parser.instance(value, where))


def _exports(parser: StepParser, value: Json, where: str) -> s.Exports:
    inner = value["exports"]
    if not isinstance(inner, dict) or not inner:
        parser.fault(where, "`exports` takes an object with `has`, `has_not` or `only`")
        return s.Exports(where=where)
    parser.check_keys(inner, {"has", "has_not", "only"}, where)
    has = inner.get("has", {})
    if not isinstance(has, dict) or not all(isinstance(each, str) for each in has.values()):
        parser.fault(f"{where}.has", 'expected an object like {"alloc": "(i64) -> i64", "memory": "memory"}')
        has = {}
    return s.Exports(
        where=where,
        has=tuple(has.items()),
        has_not=_words(parser, inner.get("has_not", []), f"{where}.has_not"),
        only=_words(parser, inner["only"], f"{where}.only") if "only" in inner else None,
    )


def _module(parser: StepParser, value: Json, where: str) -> s.ModuleFacts:
    inner = value["module"]
    keys = {"imports", "pages", "memories", "start", "maximum", "custom"}
    if not isinstance(inner, dict) or not inner:
        parser.fault(where, f"`module` takes an object with some of {', '.join(sorted(keys))}")
        return s.ModuleFacts(where=where)
    parser.check_keys(inner, keys, where)
    for key in ("start", "maximum"):
        if not isinstance(inner.get(key, True), bool):
            parser.fault(f"{where}.{key}", "expected true (it is declared) or false (it is not)")
    return s.ModuleFacts(
        where=where,
        numbers=tuple(
            (key, parser.expectation(inner[key], f"{where}.{key}"))
            for key in ("imports", "pages", "memories")
            if key in inner
        ),
        start=inner.get("start"),
        maximum=inner.get("maximum"),
        custom=_words(parser, inner.get("custom", []), f"{where}.custom"),
    )


def _let(parser: StepParser, value: Json, where: str) -> s.Let:
    if "be" not in value:
        parser.fault(where, "`let` needs `be`, the value")
    expression = parser.expression(value.get("be", 0), f"{where}.be")
    return s.Let(where=where, value=expression, target=parser.target(value["let"], f"{where}.let"))


def _instantiate(parser: StepParser, value: Json, where: str) -> s.Instantiate:
    name = parser.word(value["instantiate"], where, "an instance")
    parser.instances.add(name)
    return s.Instantiate(where=where, instance=name)


def _drop(parser: StepParser, value: Json, where: str) -> s.Drop:
    return s.Drop(where=where, instance=parser.instance({"instance": value["drop"]}, where))


def _repeat(parser: StepParser, value: Json, where: str) -> s.Repeat:
    times = parser.expression(value["repeat"], f"{where}.repeat")
    index = None
    if "index" in value:
        index = parser.word(value["index"], f"{where}.index", "a loop variable")
        parser.bound.add(index)
    fuel = parser.expression(value["fuel"], f"{where}.fuel") if "fuel" in value else None
    if fuel is not None:
        parser.needs |= {"fuel", "fuel-used"}
    inner = parser.parse(value.get("steps"), f"{where}.steps", in_loop=True)
    return s.Repeat(where=where, times=times, index=index, fuel=fuel, steps=inner)


def _for(parser: StepParser, value: Json, where: str) -> s.For:
    name = parser.word(value["for"], f"{where}.for", "a loop variable")
    values = value.get("in")
    if not isinstance(values, list) or not values:
        parser.fault(f"{where}.in", "`for` needs `in`, a list of at least one value")
        values = []
    expressions = tuple(parser.expression(each, f"{where}.in[{i}]") for i, each in enumerate(values))
    parser.bound.add(name)
    inner = parser.parse(value.get("steps"), f"{where}.steps", in_loop=True)
    return s.For(where=where, name=name, values=expressions, steps=inner)


def _cut(parser: StepParser, value: Json, where: str) -> s.Cut:
    inner = value["cut"]
    if not isinstance(inner, dict) or "call" not in inner or inner.keys() - {"call", "args"}:
        parser.fault(where, '`cut` takes one call: {"call": "alloc", "args": [100000]}')
        inner = {"call": "reset"}
    for key in ("every", "max"):
        number = value.get(key)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            parser.fault(f"{where}.{key}", f"`cut` needs `{key}`, a whole number of at least 1")
    parser.needs.add("fuel")
    call = _call(parser, inner, f"{where}.cut")
    then = parser.parse(value.get("then"), f"{where}.then", in_loop=True)
    every, most = value.get("every"), value.get("max")
    return s.Cut(
        where=where,
        call=call,
        every=every if isinstance(every, int) else 1,
        most=most if isinstance(most, int) else 1,
        then=then,
    )


def _words(parser: StepParser, value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        parser.fault(where, "expected a list of names")
        return ()
    return tuple(value)


def result_of(name: str) -> str:
    """Return the result type of a function of the contract, `()` for none."""
    return contract_types()[name].rpartition(" -> ")[2]


def arity_of(name: str) -> int:
    """Return the number of parameters of a function of the contract."""
    inside = contract_types()[name].partition(")")[0].strip("(")
    return len(inside.split(",")) if inside else 0


def _no_variable(name: str) -> int:
    raise KeyError(name)


MAKERS: Mapping[str, Callable[[StepParser, Json, str], s.Step]] = {
    "call": _call,
    "write": _write,
    "read": _read,
    "pages": _pages,
    "grow": _grow,
    "global": _global,
    "exports": _exports,
    "module": _module,
    "let": _let,
    "instantiate": _instantiate,
    "drop": _drop,
    "repeat": _repeat,
    "for": _for,
    "cut": _cut,
}
