"""What an application may get wrong with its functions: what a guest cannot call is refused by name."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import (
    F64,
    I32,
    U64,
    CurrentPlugin,
    HostFunction,
    HostFunctionError,
    Json,
    Plugin,
    PluginClosedError,
    PluginLoadError,
    host_function,
)

from .conftest import number, wat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator


def shout(text: str) -> str:
    return text.upper()


class Shouter:
    def __init__(self, end: str) -> None:
        self.end = end

    def __call__(self, text: str) -> str:
        return text.upper() + self.end

    def method(self, text: str) -> str:
        return text.upper() + self.end


def with_end(text: str, end: str) -> str:
    return text.upper() + end


def with_option(text: str, *, end: str = "?", **_: object) -> str:
    return text.upper() + end


def logged(run: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(run)
    def inner(*args: Any, **more: Any) -> str:  # noqa: ANN401 - as the function has them
        return run(*args, **more) + "."

    return inner


GOOD: dict[str, tuple[Callable[..., Any], bytes]] = {
    "function": (shout, b"X"),
    "partial-by-name": (functools.partial(with_end, end="!"), b"X!"),
    "partial-of-partial": (functools.partial(functools.partial(with_option), end="#"), b"X#"),
    "keyword-only-default": (with_option, b"X?"),
    "method": (Shouter("+").method, b"X+"),
    "object": (Shouter("-"), b"X-"),
    "wrapped": (logged(shout), b"X."),
}


@pytest.mark.parametrize("kind", GOOD)
def test_callable_of_any_kind_serves_a_guest(kind: str) -> None:
    run, output = GOOD[kind]
    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(run, name="shout")]) as plugin:
        assert plugin.call("shout", "x") == output


def test_decorated_function_stays_callable() -> None:
    @host_function
    def twice(text: str) -> str:
        return text * 2

    @host_function(name="shout")
    def louder(text: str, *, end: str = "!") -> str:
        return str(twice(text.upper())) + end

    assert isinstance(louder, HostFunction)
    assert (twice("a"), louder("a", end="?")) == ("aa", "AA?")
    with Plugin({"wasm": [wat("shout")]}, functions=[louder]) as plugin:
        assert plugin.call("shout", "x") == b"XX!"


async def waits(text: str) -> str:
    return text


def yields(text: str) -> Iterator[str]:
    yield text


async def waits_and_yields(text: str) -> AsyncIterator[str]:
    yield text


class Waits:
    async def __call__(self, text: str) -> str:
        return text


def any_number(*texts: str) -> str:
    return "".join(texts)


def needs_name(text: str, *, end: str) -> str:
    return text + end


def defaults(text: str, end: str = "") -> str:
    return text + end


def late_plugin(text: str, plugin: CurrentPlugin) -> None: ...


def unknown_type(text: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the fault under test


def unhashable(text: Json | list[int]) -> None: ...


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "async": (waits, "`waits` is `async def`"),
    "async-partial": (functools.partial(waits, text="x"), "`waits` is `async def`"),
    "async-object": (Waits(), "is `async def`"),
    "generator": (yields, "`yields` is a generator"),
    "async-generator": (waits_and_yields, "`waits_and_yields` is a generator"),
    "any-number": (any_number, r"`\*texts` takes any number"),
    "keyword-only": (needs_name, "`end` is keyword-only"),
    "default": (defaults, "the default of `end` would never count"),
    "late-plugin": (late_plugin, "only the first parameter"),
    "unknown-type": (unknown_type, "annotations cannot be read: name 'NoSuchType'"),
    "other-type": (unhashable, "text has the annotation"),
    "not-callable": (5, "5 cannot be called"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("fault", BAD)
def test_function_that_no_guest_can_call_is_refused(fault: str) -> None:
    run, message = BAD[fault]
    with pytest.raises(TypeError, match=message):
        host_function(run, name=None if hasattr(run, "__name__") or fault == "async-partial" else "f")


def test_function_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="no name of its own; pass `name`"):
        host_function(lambda: None)
    with pytest.raises(TypeError, match="no name of its own; pass `name`"):
        host_function(Shouter(""))


def test_function_is_wrapped_once() -> None:
    with pytest.raises(TypeError, match="`shout` is a host function already"):
        host_function(host_function(shout))
    with pytest.raises(TypeError, match="is no host function; pass `host_function"):
        Plugin({"wasm": [wat("shout")]}, functions=[shout])  # type: ignore[list-item]


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(PluginLoadError, match="two functions are offered as `extism:host/user` `shout`"):
        Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)] * 2)
    elsewhere = host_function(shout, namespace="other")
    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout), elsewhere]) as plugin:
        assert plugin.call("shout", "x") == b"X"


def returns(value: object, kind: object) -> HostFunction:
    def shout(text: str) -> Any:  # noqa: ANN401, ARG001 - annotated below
        return value

    shout.__annotations__["return"] = kind
    return host_function(shout)


BAD_RESULTS = {
    "integer-for-bytes": (5, bytes, "bytes were expected, not `int`"),
    "text-for-bytes": ("x", bytes, "bytes were expected, not `str`"),
    "nothing-for-text": (None, str, "text was expected, not `NoneType`"),
    "surrogate": ("\ud800", str, "lone surrogate at 0"),
    "json-nan": (float("nan"), Json, "Out of range"),
    "json-set": (set(), Json, "not JSON serializable"),
    "text-for-integer": ("5", int, "cannot be interpreted as an integer"),
    "float-for-integer": (5.5, int, "cannot be interpreted as an integer"),
    "large-integer": (2**64, U64, "18446744073709551616 does not fit into 64 bits"),
    "small-integer": (-(2**63) - 1, int, "does not fit into 64 bits"),
    "coroutine-for-text": (waits, str, "text was expected, not `function`"),
}


@pytest.mark.parametrize("fault", BAD_RESULTS)
def test_result_of_another_type_is_refused(fault: str) -> None:
    value, kind, message = BAD_RESULTS[fault]
    with (
        Plugin({"wasm": [wat("shout")]}, functions=[returns(value, kind)]) as plugin,
        pytest.raises(HostFunctionError, match=f"`shout` returned what cannot be passed on: .*{message}"),
    ):
        plugin.call("shout", "x")


def test_coroutine_that_would_never_run_is_refused() -> None:
    def note(value: Json) -> Coroutine[Any, Any, str]:
        return waits(value)

    note.__annotations__["return"] = None
    functions = [host_function(shout), host_function(note), host_function(total, name="sum")]
    with (
        Plugin({"wasm": [wat("user")]}, functions=functions) as plugin,
        pytest.raises(HostFunctionError, match="`note` returned a `coroutine`, which never ran"),
    ):
        plugin.call("note", "[]")


def test_plugin_that_is_kept_ends_with_its_call() -> None:
    kept: list[CurrentPlugin] = []

    def shout(plugin: CurrentPlugin, text: str) -> bytes:
        assert plugin.read(plugin.write(b"abc")) == b"abc"
        kept.append(plugin)
        if text == "fail":
            raise ValueError(text)
        return b"fine"

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)]) as plugin:
        assert plugin.call("shout", "x", host_context="mine") == b"fine"
        with pytest.raises(HostFunctionError, match="ValueError: fail"):
            plugin.call("shout", "fail")
        assert kept[0].host_context == "mine"
        for current in kept:
            uses: list[Callable[[], object]] = [
                functools.partial(current.read, 0),
                functools.partial(current.write, b"x"),
                functools.partial(current.free, 1),
                functools.partial(getattr, current, "time_left"),
                functools.partial(getattr, current, "is_stopped"),
            ]
            for use in uses:
                with pytest.raises(PluginClosedError, match="ended with the call"):
                    use()


def total(a: I32, b: int, c: F64) -> U64:
    return a + b + int(c)


def test_numbers_go_through_in_either_sign() -> None:
    def both(a: I32, b: int, c: F64) -> U64:  # noqa: ARG001 - the plug-in passes them
        return -1

    functions = [
        host_function(shout),
        host_function(both, name="sum"),
        host_function(note_nothing, name="note"),
    ]
    with Plugin({"wasm": [wat("user")]}, functions=functions) as plugin:
        assert number(plugin.call("sum")) == 2**64 - 1


def note_nothing(value: Json) -> None: ...
