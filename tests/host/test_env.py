"""The host functions but HTTP: config, vars, logs; the functions of the application; both generations."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    F64,
    I32,
    I64,
    TRACE,
    U64,
    CurrentPlugin,
    GuestError,
    HostFunctionError,
    Json,
    Plugin,
    PluginLoadError,
    host_function,
)

from .conftest import LOOPBACK, number, request, wat

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Server


def test_config_get_gives_values_and_nothing_for_the_rest(load: Callable[..., Plugin]) -> None:
    plugin = load("kit", config={"key": "välue", "empty": ""})
    assert plugin.call("config", "key") == "välue".encode()
    assert [plugin.call("config", k) for k in ("empty", "none", "")] == [b"", b"", b""]
    assert plugin.call("config_of_input", "key") == "välue".encode()


def test_config_argument_adds_to_the_manifest(load: Callable[..., Plugin]) -> None:
    plugin = load("kit", config={"a": "1", "b": "1"}, options={"config": {"b": "2"}})
    assert [plugin.call("config", k) for k in "ab"] == [b"1", b"2"]


def test_config_key_must_be_utf8(load: Callable[..., Plugin]) -> None:
    with pytest.raises(HostFunctionError, match="not UTF-8"):
        load("kit").call("config", b"\xff")


def test_argument_handles_are_freed(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    assert number(plugin.call("argument_is_freed", "some key")) == 0
    assert number(plugin.call("filtered_log_is_freed", "some text")) == 0


def test_one_handle_may_be_passed_as_two_arguments(server: Server) -> None:
    def join(a: str, b: str) -> str:
        return a + b

    twice = """(module
        (import "extism:host/env" "input_offset" (func $input (result i64)))
        (import "extism:host/env" "length" (func $length (param i64) (result i64)))
        (import "extism:host/env" "output_set" (func $output (param i64 i64)))
        (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
        (import "extism:host/env" "http_request" (func $http (param i64 i64) (result i64)))
        (import "extism:host/user" "join" (func $join (param i64 i64) (result i64)))
        (func $answer (param $h i64) (call $output (local.get $h) (call $length (local.get $h))))
        (func (export "var") (call $var_set (call $input) (call $input)))
        (func (export "ask") (call $answer (call $http (call $input) (call $input))))
        (func (export "join") (call $answer (call $join (call $input) (call $input)))))"""
    manifest = {"wasm": [{"data": twice.encode()}], **LOOPBACK}
    with Plugin(manifest, functions=[host_function(join)]) as plugin:
        plugin.call("var", b"v")
        assert plugin.vars == {"v": b"v"}
        asked = request(server.url("/echo"), method="POST")
        assert json.loads(plugin.call("ask", asked)) == ["POST", "", asked]
        assert plugin.call("join", b"ab") == b"abab"


def test_unknown_handle_is_refused(load: Callable[..., Plugin]) -> None:
    with pytest.raises(HostFunctionError, match="invalid handle 123457"):
        load("kit").call("bad_handle")


def test_vars_last_and_empty_deletes(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    assert plugin.call("get") == b""
    plugin.call("set", b"one\0two")
    assert plugin.call("get") == b"one\0two"
    plugin.reset()
    assert plugin.call("get") == b"one\0two"
    plugin.call("set", b"")
    assert plugin.call("get") == b""
    assert plugin.vars == {}


def test_var_limit_counts_names_and_values(load: Callable[..., Plugin]) -> None:
    plugin = load("kit", memory={"max_var_bytes": 100})
    plugin.call("set", b"x" * 49)
    plugin.call("set_other", b"y" * 49)
    plugin.call("set", b"z" * 49)
    with pytest.raises(HostFunctionError, match="full"):
        plugin.call("set", b"x" * 50)
    assert plugin.call("get") == b"z" * 49


def test_var_limit_is_one_mebibyte_by_default(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    plugin.call("set", b"x" * (2**20 - 1))
    with pytest.raises(HostFunctionError, match="full"):
        plugin.call("set", b"x" * 2**20)


def test_var_limit_zero_disables_vars(load: Callable[..., Plugin]) -> None:
    plugin = load("kit", memory={"max_var_bytes": 0})
    with pytest.raises(HostFunctionError, match="disabled"):
        plugin.call("set", b"x")


@pytest.mark.parametrize(
    ("level", "logged", "number_of_level"),
    [
        (TRACE, ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"], 0),
        (logging.DEBUG, ["DEBUG", "INFO", "WARNING", "ERROR"], 1),
        (logging.INFO, ["INFO", "WARNING", "ERROR"], 2),
        (logging.WARNING, ["WARNING", "ERROR"], 3),
        (logging.ERROR, ["ERROR"], 4),
        (logging.CRITICAL, [], 2147483647),
    ],
)
def test_logs_go_to_logging_at_their_level(
    load: Callable[..., Plugin],
    caplog: pytest.LogCaptureFixture,
    level: int,
    logged: list[str],
    number_of_level: int,
) -> None:
    logger = logging.getLogger("test.guest")
    plugin = load("kit", options={"logger": logger})
    with caplog.at_level(level, logger="test.guest"):
        plugin.call("log_all", "100% ünsafe")
        assert number(plugin.call("log_level")) == number_of_level
    assert [record.levelname for record in caplog.records] == logged
    assert {record.getMessage() for record in caplog.records} <= {"100% ünsafe"}


def shout(text: str) -> str:
    return text.upper()


def test_first_generation_has_the_same_functions(load: Callable[..., Plugin]) -> None:
    plugin = load("old", config={"k": "v"}, options={"functions": [host_function(shout)]})
    assert plugin.call("echo", b"hello") == b"hello"
    assert plugin.call("config", b"k") == b"v"
    assert plugin.call("shout", b"hello") == b"HELLO"
    with pytest.raises(GuestError, match=r"^boom$"):
        plugin.call("fail", b"boom")


def test_user_functions_are_typed() -> None:
    seen: list[object] = []

    def total(a: I32, b: I64, c: F64) -> U64:
        seen.append((a, b, c))
        return 2**64 - 1

    def note(plugin: CurrentPlugin, value: Json) -> None:
        seen.append((plugin.host_context, value))

    functions = [host_function(shout), host_function(total, name="sum"), host_function(note)]
    with Plugin({"wasm": [wat("user")]}, functions=functions) as plugin:
        assert plugin.call("shout", "abc") == b"ABC"
        assert number(plugin.call("sum")) == 2**64 - 1
        plugin.call("note", '{"a": [1, null]}', host_context="context")
    assert seen == [(-1, -2, 10.5), ("context", {"a": [1, None]})]


def test_user_function_that_fails_ends_the_call() -> None:
    def broken(_: str) -> str:
        raise ValueError("no good")

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(broken, name="shout")]) as plugin:
        with pytest.raises(HostFunctionError, match="ValueError: no good") as caught:
            plugin.call("shout", "x")
        assert isinstance(caught.value.__cause__, ValueError)


def test_user_function_that_interrupts_is_not_swallowed() -> None:
    def stop(_: str) -> str:
        raise KeyboardInterrupt

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(stop, name="shout")]) as plugin:
        with pytest.raises(KeyboardInterrupt):
            plugin.call("shout", "x")
        with pytest.raises(KeyboardInterrupt):
            plugin.call("shout", "x")


def test_missing_user_functions_are_all_named() -> None:
    with pytest.raises(PluginLoadError, match=r"`shout`, .* `sum`, .* `note`"):
        Plugin({"wasm": [wat("user")]}).call("shout")


def test_wrong_type_of_user_function_is_named() -> None:
    def wrong(_: I32) -> None: ...

    with pytest.raises(PluginLoadError, match="shout"):
        Plugin({"wasm": [wat("shout")]}, functions=[host_function(wrong, name="shout")]).call("shout")


def test_host_function_refuses_what_it_cannot_carry() -> None:
    def untyped(a) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - the fault under test

    with pytest.raises(TypeError, match="`untyped`: a has the annotation None"):
        host_function(untyped)
    with pytest.raises(ValueError, match="belong to the kernel"):
        host_function(shout, name="extism_alloc")


@pytest.mark.parametrize("name", ["length", "config_get"])
def test_user_function_cannot_replace_the_kernels(name: str) -> None:
    with pytest.raises(ValueError, match="belong to the kernel"):
        host_function(shout, name=name, namespace="extism:host/env")
