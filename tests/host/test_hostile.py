"""Hostile plug-ins: what each tries, what it gets, and that the next call on the same plug-in works."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    FunctionNotFoundError,
    HostFunctionError,
    Plugin,
    PluginError,
    PluginExitError,
    PluginLoadError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
)

from . import registries
from .conftest import wat

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = {"timeout_ms": 2000, "memory": {"max_pages": 64}}

ATTACKS: dict[str, tuple[type[PluginError] | None, str]] = {
    # export: (error, part of its message); None: harmless, the call succeeds
    "loop": (PluginTimeoutError, "timeout"),
    "recurse": (PluginTrapError, "stack overflow"),
    "grow_own_memory": (PluginExitError, "exit code: 1"),
    "grow_at_once": (PluginExitError, "exit code: -1"),
    "reserve_kernel_memory": (PluginOutOfMemoryError, "oom"),
    "reserve_all": (PluginOutOfMemoryError, "oom"),
    "grow_both": (PluginOutOfMemoryError, "oom"),
    "grow_table": (PluginExitError, "exit code: -1"),
    "grow_objects": (PluginOutOfMemoryError, "oom: GC heap"),
    "forge_output_length": (None, ""),
    # A guest that overwrites a header ends that handle: the error is empty, so the exit code counts.
    "forge_error_length": (PluginExitError, "non-zero exit code: 1"),
    "forge_all_large": (None, ""),
    "forge_all_small": (None, ""),
    "forge_and_error": (PluginExitError, "non-zero exit code: 1"),
    "output_beyond_memory": (None, ""),
    "output_wraps": (None, ""),
    "input_beyond_memory": (None, ""),
    "error_nowhere": (None, ""),
    "config_of_nowhere": (HostFunctionError, "invalid handle"),
    "config_of_interior": (HostFunctionError, "invalid handle"),
    "var_of_nowhere": (HostFunctionError, "invalid handle"),
    "http_of_nowhere": (HostFunctionError, "invalid handle"),
    "http_of_garbage": (HostFunctionError, "not JSON"),
    "log_nowhere": (HostFunctionError, "invalid handle"),
    "reset_inside": (None, ""),
    "free_everything": (None, ""),
    "fill_vars": (HostFunctionError, "variable store is full"),
}


HOARDERS = {"grow_own_memory"}
"""After this the guest itself holds all pages: the host says so plainly until `reset`."""


@pytest.fixture(scope="module")
def compiled() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("hostile")], **LIMITS})


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_stopped_and_next_call_works(compiled: CompiledPlugin, attack: str) -> None:
    kind, message = ATTACKS[attack]
    with Plugin(compiled) as plugin:
        assert plugin.call("fine", b"before") == b"before"
        start = time.monotonic()
        if kind is None:
            plugin.call(attack, b"input")
        else:
            with pytest.raises(kind, match=message):
                plugin.call(attack, b"input")
        assert time.monotonic() - start < 30
        if attack in HOARDERS:
            with pytest.raises(PluginOutOfMemoryError, match=r"oom") as said:
                plugin.call("fine", b"x" * 200_000)
            assert "max_pages" in said.value.render()
            plugin.reset()
        assert plugin.call("fine", b"after") == b"after"


@pytest.fixture(scope="module")
def defenceless() -> CompiledPlugin:
    """The same plug-in on a kernel that lets guests write over its state: the one that the Go SDK carries."""
    kernel = (registries.go_sdk_plugins().parent / "extism-runtime.wasm").read_bytes()
    return CompiledPlugin({"wasm": [wat("hostile")], **LIMITS}, kernel=kernel)


@pytest.mark.parametrize("attack", ATTACKS)
def test_host_survives_a_kernel_that_does_not_defend_itself(defenceless: CompiledPlugin, attack: str) -> None:
    with Plugin(defenceless) as plugin:
        assert plugin.call("fine", b"before") == b"before"
        start = time.monotonic()
        with contextlib.suppress(PluginError):
            plugin.call(attack, b"input")
        assert time.monotonic() - start < 40
        try:
            assert plugin.call("fine", b"after") == b"after"
        except PluginError:
            plugin.reset()
            assert plugin.call("fine", b"after") == b"after"


@pytest.mark.parametrize("export", ["grow_own_memory", "reserve_kernel_memory", "grow_both"])
def test_pages_of_kernel_and_guest_together_stay_within_the_limit(
    load: Callable[..., Plugin], export: str
) -> None:
    plugin = load("hostile", timeout_ms=5000, memory={"max_pages": 64})
    with pytest.raises(PluginError):
        plugin.call(export)
    linked = plugin._linked
    assert linked is not None
    assert 40 <= linked.budget.used <= 64  # one refused MiB is 16 pages


def test_trap_with_every_page_in_use_says_oom(load: Callable[..., Plugin]) -> None:
    with pytest.raises(PluginOutOfMemoryError, match="oom: `grow_or_trap` trapped with every page in use"):
        load("limits", memory={"max_pages": 64}).call("grow_or_trap")


def test_hidden_memories_count_too() -> None:
    hoarder = """(module (memory 1) (memory 1) (func (export "f") (result i32)
        (drop (memory.grow 0 (i32.const 20))) (drop (memory.grow 1 (i32.const 20)))
        (loop $l (br_if $l (i32.ne (memory.grow 0 (i32.const 1)) (i32.const -1))))
        (loop $l (br_if $l (i32.ne (memory.grow 1 (i32.const 1)) (i32.const -1))))
        (i32.add (memory.size 0) (memory.size 1))))"""
    with Plugin({"wasm": [{"data": hoarder.encode()}], "memory": {"max_pages": 40}}) as plugin:
        with pytest.raises(PluginExitError) as caught:
            plugin.call("f")
        assert 20 < caught.value.status <= 39


def test_module_that_starts_too_large_is_refused() -> None:
    with (
        Plugin(
            {"wasm": [{"data": b'(module (memory 30) (func (export "f")))'}], "memory": {"max_pages": 20}}
        ) as it,
        pytest.raises(PluginOutOfMemoryError, match="oom"),
    ):
        it.call("f")


@pytest.mark.parametrize("kind", ["(start $hoard)", '(export "_initialize" (func $hoard))'])
def test_start_that_fills_kernel_and_guest_is_refused(kind: str) -> None:
    hoarder = f"""(module (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (memory 1) (func (export "g")) {kind}
        (func $hoard
            (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
            (drop (call $alloc (i64.const 2500000)))))"""
    main = b'(module (import "hoarder" "g" (func)) (func (export "f")))'
    modules = [{"name": "hoarder", "data": hoarder.encode()}, {"data": main}]
    with (
        Plugin({"wasm": modules, "memory": {"max_pages": 64}}) as plugin,
        pytest.raises(PluginOutOfMemoryError, match="oom"),
    ):
        plugin.call("f")


def test_input_that_does_not_fit_is_refused_and_the_instance_lives(load: Callable[..., Plugin]) -> None:
    plugin = load("kit", memory={"max_pages": 17})
    assert plugin.call("count")[0] == 1
    with pytest.raises(PluginOutOfMemoryError, match="oom"):
        plugin.call("echo", b"x" * 17 * 65536)
    assert plugin.call("count")[0] == 2
    assert plugin.call("echo", b"x" * 128 * 1024) == b"x" * 128 * 1024


@pytest.mark.parametrize(
    "body",
    [
        "(start $f) (func $f (loop $l (br $l)))",
        '(func (export "_initialize") (loop $l (br $l)))',
        '(func (export "__wasm_call_ctors") (loop $l (br $l)))',
        '(func (export "hs_init") (param i32 i32) (loop $l (br $l)))',
    ],
)
def test_timeout_covers_what_runs_before_the_function(body: str) -> None:
    source = f'(module {body} (func (export "f")))'
    with Plugin({"wasm": [{"data": source.encode()}], "timeout_ms": 300}) as plugin:
        for _ in range(2):
            with pytest.raises(PluginTimeoutError, match="timeout"):
                plugin.call("f")


@pytest.mark.parametrize(
    ("body", "end"), [("unreachable", "unreachable"), ("(throw $t)", "thrown Wasm exception")]
)
def test_end_of_a_start_function_is_named(body: str, end: str) -> None:
    with (
        Plugin(f'(module (tag $t) (start $f) (func $f {body}) (func (export "f")))') as plugin,
        pytest.raises(PluginTrapError, match=f"trapped: {end}"),
    ):
        plugin.call("f")


def test_wait_on_shared_memory_cannot_be_built() -> None:
    waiting = b"""(module (memory 1 1 shared) (func (export "f")
        (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"""
    with pytest.raises(PluginLoadError, match="shared memory"):
        Plugin({"wasm": [{"data": waiting}], "timeout_ms": 300}).call("f")


def test_tables_share_one_limit() -> None:
    tables = range(50)
    source = f"""(module {"".join(f"(table $t{i} 1 funcref)" for i in tables)}
        (func (export "f") (result i32) (local $n i32)
            {"".join(f"(drop (table.grow $t{i} (ref.null func) (i32.const 900000)))" for i in tables)}
            {"".join(f"(drop (table.grow $t{i} (ref.null func) (i32.const 10000)))" for i in tables)}
            {"".join(f"(local.set $n (i32.add (local.get $n) (table.size $t{i})))" for i in tables)}
            (local.get $n)))"""
    with Plugin(source) as plugin, pytest.raises(PluginExitError) as caught:
        plugin.call("f")
    assert caught.value.status == 50 * 10_001


STRANGE_TYPES = {
    "vector": ("(param v128)", "(v128) -> ()"),
    "object": ("(param anyref)", "(anyref) -> ()"),
    "struct": ("(param (ref $s)) (result (ref null $s)) (local.get 0)", "((ref 1)) -> ((ref null 1))"),
    "function": ("(param (ref null $f) i32)", "((ref null 0), i32) -> ()"),
    "exception": ("(param exnref)", "(exnref) -> ()"),
}


@pytest.mark.parametrize("kind", STRANGE_TYPES)
def test_types_that_the_runtime_cannot_name_do_not_end_the_process(kind: str) -> None:
    body, shown = STRANGE_TYPES[kind]
    source = f"""(module
        (rec (type $f (func (param i64))) (type $s (sub (struct (field (mut i8)) (field (ref null $s))))))
        (type (array (mut (ref $f))))
        (import "extism:host/env" "free" (func (param i64)))
        (func (export "f"))
        (func (export "strange") {body})
        (func (export "hs_init") (param v128 i32))
        (func (export "_initialize") (param anyref)))"""
    with Plugin(source) as plugin:
        assert plugin.call("f") == b""
        assert not plugin.function_exists("strange")
        with pytest.raises(FunctionNotFoundError) as caught:
            plugin.call("strange")
        assert f"is {shown}, a host calls" in str(caught.value)


@pytest.mark.parametrize("kind", ["", "(param i32)", "(param i32 i32) (result i32) (i32.const 1)"])
def test_start_of_haskell_with_another_type_is_left_alone(kind: str) -> None:
    with Plugin(f'(module (func (export "hs_init") {kind}) (func (export "f")))') as plugin:
        assert plugin.call("f") == b""


def test_hundred_timeouts_leave_a_working_plugin() -> None:
    with Plugin({"wasm": [wat("hostile")], "timeout_ms": 5}) as plugin:
        for _ in range(100):
            with pytest.raises(PluginTimeoutError):
                plugin.call("loop")
        with pytest.raises(PluginError):
            plugin.call("recurse")
    with Plugin({"wasm": [wat("hostile")], "timeout_ms": 60_000}) as plugin:
        assert plugin.call("fine", b"x") == b"x"
