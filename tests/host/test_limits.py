"""Limits that hold: for each hostile plug-in the error it gets, and the time and memory it got."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    Plugin,
    PluginError,
    PluginExitError,
    PluginFuelError,
    PluginLoadError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
    StackTooSmallError,
    host_function,
)
from extism_kernel_pkg.host.stacks import find_stack_size

GIB_PAGES = 2**30 // 65536
ARRAY = "(type $a (array (mut i64)))"
GROW = """(loop $l (br_if $l (i64.ne (memory.grow (i64.const 1000)) (i64.const -1))))
    (i32.wrap_i64 (memory.size))"""
SPIN = "(loop $l (br $l))"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One hostile module: what it ends with, and the most CPU seconds that it may get."""

    module: str
    error: type[PluginError]
    message: str
    seconds: float
    manifest: dict[str, Any] = field(default_factory=dict)
    fuel_limit: int | None = None


ATTACKS = {
    "memory64-without-limit": Attack(
        module=f'(memory i64 1) (func (export "f") (result i32) {GROW})',
        error=PluginExitError,
        message=r"exit code: 6[45]\d\d\d$",  # pages: at most 4 GiB
        seconds=5,
    ),
    "array-of-800-mb": Attack(
        module=f"""{ARRAY} (func (export "f")
            (loop $l (drop (array.new $a (i64.const 1) (i32.const 100000000))) (br $l)))""",
        error=PluginOutOfMemoryError,
        message="GC heap out of memory",
        seconds=3,
        manifest={"timeout_ms": 1000},
    ),
    "arrays-that-fit": Attack(
        module=f"""{ARRAY} (func (export "f")
            (loop $l (drop (array.new $a (i64.const 1) (i32.const 20000000))) (br $l)))""",
        error=PluginTimeoutError,
        message="timeout",
        seconds=5,
        manifest={"timeout_ms": 500},
    ),
    "fill-in-a-loop": Attack(
        module="""(memory 8000) (func (export "f")
            (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 500000000)) (br $l)))""",
        error=PluginTimeoutError,
        message="timeout",
        seconds=5,
        manifest={"timeout_ms": 100},
    ),
    "fill-in-a-row": Attack(
        module=f"""(memory 8000) (func (export "f")
            {"(memory.fill (i32.const 0) (i32.const 1) (i32.const 500000000))" * 200})""",
        error=PluginTimeoutError,
        message="timeout",
        seconds=5,
        manifest={"timeout_ms": 100},
    ),
    "table-fill-in-a-loop": Attack(
        module="""(table 900000 funcref) (func (export "f")
            (loop $l (table.fill (i32.const 0) (ref.null func) (i32.const 900000)) (br $l)))""",
        error=PluginTimeoutError,
        message="timeout",
        seconds=3,
        manifest={"timeout_ms": 100},
    ),
    "fuel": Attack(
        module=f'(func (export "f") {SPIN})',
        error=PluginFuelError,
        message="fuel: `f` was stopped after 1000000 units",
        seconds=3,
        fuel_limit=1_000_000,
    ),
    "fuel-in-a-start-function": Attack(
        module=f'(start $spin) (func $spin {SPIN}) (func (export "f"))',
        error=PluginFuelError,
        message="fuel",
        seconds=3,
        fuel_limit=1_000_000,
    ),
    "fill-in-a-start-function": Attack(
        module="""(memory 8000) (start $fill) (func (export "f")) (func $fill
            (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 500000000)) (br $l)))""",
        error=PluginTimeoutError,
        message="timeout",
        seconds=5,
        manifest={"timeout_ms": 100},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attack_gets_no_more_than_its_limit(attack: Attack) -> None:
    manifest = {"wasm": [{"data": f"(module {attack.module})".encode()}], **attack.manifest}
    with Plugin(manifest, fuel_limit=attack.fuel_limit) as plugin:
        for _ in range(2):
            began = time.process_time()
            with pytest.raises(attack.error, match=attack.message):
                plugin.call("f")
            assert time.process_time() - began < attack.seconds
            plugin.reset()


def test_many_memories_share_one_bound() -> None:
    memories = "".join(f"(memory $m{i} 1)" for i in range(16))
    grow = "".join(
        f"(loop $l (br_if $l (i32.ne (memory.grow $m{i} (i32.const 1024)) (i32.const -1))))"
        for i in range(16)
    )
    total = "".join(f"(local.set $n (i32.add (local.get $n) (memory.size $m{i})))" for i in range(16))
    source = (
        f'(module {memories} (func (export "f") (result i32) (local $n i32) {grow} {total} (local.get $n)))'
    )
    with Plugin(source) as plugin, pytest.raises(PluginExitError) as caught:
        plugin.call("f")
    assert 15 * GIB_PAGES < caught.value.status <= 16 * GIB_PAGES


RECURSION = """(module (func $r (param i64 i64) (result i64)
    (i64.add (local.get 0) (call $r (local.get 1) (local.get 0))))
    (func (export "f") (drop (call $r (i64.const 1) (i64.const 2)))))"""


@pytest.mark.skipif(find_stack_size() is None, reason="this system does not tell the size of a stack")
@pytest.mark.parametrize(
    ("kib", "kind"), [(512, StackTooSmallError), (800, PluginTrapError), (8192, PluginTrapError)]
)
def test_recursion_in_a_thread_does_not_end_the_process(kib: int, kind: type[PluginError]) -> None:
    ends: list[BaseException] = []

    def recurse() -> None:
        try:
            plugin.call("f")
        except PluginError as error:
            ends.append(error)

    old = threading.stack_size(kib * 1024)
    try:
        with Plugin(RECURSION) as plugin:
            thread = threading.Thread(target=recurse)
            thread.start()
            thread.join()
            with pytest.raises(PluginTrapError, match="stack overflow"):
                plugin.call("f")
    finally:
        threading.stack_size(old)
    assert [type(end) for end in ends] == [kind]
    if kind is StackTooSmallError:
        assert "threading.stack_size(" in ends[0].render()  # type: ignore[attr-defined]


def test_fuel_is_whole_for_each_call_and_used_by_host_functions_too() -> None:
    source = b"""(module (import "extism:host/user" "give" (func $give (result i64)))
        (func (export "f") (local $n i32)
            (loop $l (br_if $l (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000)))))
        (func (export "g") (loop $l (drop (call $give)) (br $l))))"""

    def give() -> bytes:
        return b"x" * 1000

    compiled = CompiledPlugin({"wasm": [{"data": source}]}, fuel_limit=20_000)
    with Plugin(compiled, functions=[host_function(give)]) as plugin:
        for _ in range(20):
            plugin.call("f", b"x" * 10_000)
        with pytest.raises(PluginFuelError) as caught:
            plugin.call("g")
        fuel = next(limit for limit in caught.value.limits if limit.name == "fuel")
        assert (fuel.limit, fuel.is_near) == (20_000, True)
        plugin.call("f")
    with (
        Plugin(compiled, functions=[host_function(give)], fuel_limit=100) as plugin,
        pytest.raises(PluginFuelError),
    ):
        plugin.call("f")


@pytest.mark.parametrize(("limit", "kind"), [(0, ValueError), (2**63, ValueError), ("5", TypeError)])
def test_fuel_limit_that_is_none_is_refused(limit: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="fuel_limit"):
        Plugin(RECURSION, fuel_limit=limit)


def test_fuel_limit_needs_code_that_counts_it() -> None:
    with pytest.raises(ValueError, match="give `CompiledPlugin` a `fuel_limit` too"):
        Plugin(CompiledPlugin(RECURSION), fuel_limit=5)


def test_setting_a_var_does_not_cost_more_with_many_vars() -> None:
    source = b"""(module
        (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
        (import "extism:host/env" "var_set" (func $set (param i64 i64)))
        (func $text (param i64) (result i64) (local $h i64)
            (local.set $h (call $alloc (i64.const 8)))
            (call $store (local.get $h) (i64.or (local.get 0) (i64.const 0x2020202020202020)))
            (local.get $h))
        (func (export "f") (local $n i64)
            (loop $l (call $set (call $text (i64.const 1)) (call $text (i64.const 1)))
                (local.set $n (i64.add (local.get $n) (i64.const 1)))
                (br_if $l (i64.lt_u (local.get $n) (i64.const 300))))))"""

    def seconds(plugin: Plugin) -> float:
        best = 1e9
        for _ in range(5):
            began = time.process_time()
            plugin.call("f")
            best = min(best, time.process_time() - began)
        return best

    with Plugin({"wasm": [{"data": source}], "memory": {"max_var_bytes": 2**30}}) as plugin:
        few = seconds(plugin)
        plugin.vars.update({f"name-{i}": b"value" for i in range(100_000)})
        assert seconds(plugin) < 10 * few


def test_vars_know_their_size() -> None:
    with Plugin(RECURSION) as plugin:
        plugin.vars["ö"] = b"123"
        plugin.vars.update(a=b"1", b=b"22")
        plugin.vars["a"] = b"4444"
        del plugin.vars["b"]
        assert plugin.vars.size == 2 + 3 + 1 + 4
        assert plugin.vars == {"ö": b"123", "a": b"4444"}
        plugin.vars.clear()
        assert plugin.vars.size == 0


EVEN = b"""(module $even
    (import "odd" "is_odd" (func $is_odd (param i32 f64) (result i32 f64)))
    (func (export "is_even") (param i32 f64) (result i32 f64)
        (if (result i32 f64) (local.get 0)
            (then (call $is_odd (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
            (else (i32.const 1) (local.get 1))))
    (func (export "f") (result i32) (local $kept f64)
        (local.set $kept (call $is_odd (i32.const 6) (f64.const 1.5)))
        (i32.add (i32.trunc_f64_s (f64.mul (local.get $kept) (f64.const 20))))))"""
ODD = """(module $odd
    (import "main" "is_even" (func $is_even (param i32 {type}) (result i32 {type})))
    {more}
    (func (export "is_odd") (param i32 {type}) (result i32 {type})
        (if (result i32 {type}) (local.get 0)
            (then (call $is_even (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
            (else (i32.const 0) (local.get 1)))))"""


def circle(odd: str) -> Plugin:
    return Plugin({"wasm": [{"name": "odd", "data": odd.encode()}, {"name": "main", "data": EVEN}]})


def test_functions_import_each_other_in_a_circle() -> None:
    with circle(ODD.format(type="f64", more="")) as plugin:
        for _ in range(2):
            with pytest.raises(PluginExitError, match=r"exit code: 30$"):  # 20 times 1.5, and 6 is not odd
                plugin.call("f")
            plugin.reset()


def test_call_in_a_circle_before_all_are_there_traps() -> None:
    more = "(start $early) (func $early (drop (drop (call $is_even (i32.const 1) (f64.const 1)))))"
    with circle(ODD.format(type="f64", more=more)) as plugin, pytest.raises(PluginTrapError, match="to null"):
        plugin.call("f")


def test_circle_with_two_types_is_refused() -> None:
    with circle(ODD.format(type="f32", more="")) as plugin, pytest.raises(PluginLoadError, match="type"):
        plugin.call("f")


def test_circle_of_anything_but_functions_is_refused() -> None:
    odd = ODD.format(type="f64", more='(import "main" "memory" (memory 1))')
    with (
        circle(odd) as plugin,
        pytest.raises(PluginLoadError, match=r"only functions .* main -> odd -> main"),
    ):
        plugin.call("f")


def test_module_may_import_from_itself() -> None:
    source = b"""(module (import "main" "g" (func $g (result i32)))
        (func (export "g") (result i32) (i32.const 7))
        (func (export "f") (result i32) (call $g)))"""
    with (
        Plugin({"wasm": [{"name": "main", "data": source}]}) as plugin,
        pytest.raises(PluginExitError, match="exit code: 7"),
    ):
        plugin.call("f")
