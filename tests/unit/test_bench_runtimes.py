"""Loops of a guest inside a kernel, and their times on runtimes."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ExitCode
from build_tools.bench import command, runtimes
from build_tools.bench.extend import extend_module, prepend_code
from build_tools.bench.guests import (
    BLOCK,
    EMPTY,
    LAYOUTS,
    LOOPS,
    PREPENDED,
    empty_calls,
    with_layout,
    with_loops,
)
from build_tools.bench.metered import NamedModule, Workshop
from build_tools.bench.runtimes import (
    RUNTIMES,
    LoopTime,
    RuntimeFailedError,
    _time_loop,
    cpu_clock,
    render_runtimes,
    time_runtimes,
)
from build_tools.cli import main as cli
from extism_kernel_pkg._wasm import read_module

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


def assemble(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def test_extended_module_calls_what_it_had() -> None:
    old = assemble("""(module
      (memory (export "memory") 1)
      (global $g (mut i64) (i64.const 5))
      (func $hidden (result i64) (global.get $g))
      (func (export "get") (export "again") (result i64) (call $hidden)))""")
    text = """(global $own (export "own") (mut i64) (i64.const 2))
      (func $twice (param $x i64) (result i64) (i64.mul (local.get $x) (global.get $own)))
      (func (export "double") (result i64) (call $twice (call $get)))"""
    instance = Workshop(NamedModule(name="extended", data=extend_module(old, text))).instantiate()
    assert (instance.call("get"), instance.call("again"), instance.call("double")) == (5, 5, 10)


def test_extended_module_keeps_every_section(sound: bytes) -> None:
    extended = read_module(extend_module(sound, '(func (export "nothing"))'))
    old = read_module(sound)
    assert extended.exports[:-1] == old.exports
    assert [each.type for each in extended.globals] == [each.type for each in old.globals]


def test_text_that_does_not_fit_the_module_is_refused() -> None:
    with pytest.raises(wasmtime.WasmtimeError):
        extend_module(assemble("(module)"), '(func (export "f") (call $absent))')


@pytest.mark.parametrize("loop", LOOPS)
def test_each_loop_runs_its_rounds(loop: str) -> None:
    instance = Workshop(empty_calls("empty")).instantiate()
    none, one, ten, more = (instance.count(f"bench {loop}", rounds)[1] for rounds in (0, 1, 10, BLOCK))
    assert none < one
    assert ten - one == 9 * (more - ten) / (BLOCK - 10)


def test_prepended_code_runs_before_the_rest_of_one_function() -> None:
    old = assemble("""(module (import "" "" (func))
      (func (export "other") (result i32) (local i32 i32 i64) (i32.const 7))
      (func (export "tried") (param $x i32) (result i32) (local i32 f64 f64) (local.get $x)))""")
    set_to_five = b"\x41\x05\x21\x00"
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, prepend_code(old, "tried", set_to_five))
    nothing = wasmtime.Func(store, wasmtime.FuncType([], []), lambda: None)
    exports = wasmtime.Instance(store, module, [nothing]).exports(store)
    tried, other = exports["tried"], exports["other"]
    assert isinstance(tried, wasmtime.Func)
    assert isinstance(other, wasmtime.Func)
    assert [tried(store, 1), other(store)] == [5, 7]
    with pytest.raises(KeyError, match="absent"):
        prepend_code(old, "absent", b"")


@pytest.mark.parametrize("loop", PREPENDED)
def test_layout_adds_as_many_steps_to_each_round(loop: str) -> None:
    kernel = empty_calls("empty")
    figures = []
    for number in range(LAYOUTS):
        instance = Workshop(with_layout(kernel, loop, number)).instantiate()
        figures.append(instance.count(f"bench {loop}", 10)[1])
    assert [each - figures[0] for each in figures] == [10 * 4 * number for number in range(LAYOUTS)]


def test_reference_becomes_a_number_that_every_interpreter_has() -> None:
    text = EMPTY.replace(
        '(memory (export "memory") 2)', "(memory 2) (global (mut externref) (ref.null extern))"
    )
    changed = with_loops(NamedModule(name="tried", data=assemble(text)))
    assert [each.type for each in read_module(changed.data).globals] == ["mut i32"]
    assert wasmtime.Module(wasmtime.Engine(), changed.data)


def test_clock_of_a_process_counts_its_work() -> None:
    clock = cpu_clock(os.getpid())
    started, until = clock(), time.process_time() + 0.02
    while time.process_time() < until:
        pass
    assert 0.01 < clock() - started < 10


TIMES = [
    LoopTime(
        runtime="one",
        loop="copy",
        modules=("a", "b", "empty call"),
        layouts=((3.0, 4.0, 1.0), (2.0, 5.0, 1.5)),
    ),
    LoopTime(runtime="two", loop="copy", modules=("a", "b", "empty call"), layouts=((3.0, 0.0, 1.5),)),
]


def test_page_shows_ratios_and_what_is_lacking() -> None:
    page = render_runtimes(TIMES, ["three: `three` is not on PATH"], date="2026-01-02")
    assert "| one | copy | 2.0 | 4.0 | 1.0 | 0.50 | 2.00 |" in page
    assert "| two | copy | 3.0 | 0.0 | 1.5 | - | 2.00 |" in page
    assert "- three: `three` is not on PATH" in page
    assert "on 2026-01-02" in page
    assert "Not there" not in render_runtimes(TIMES, [], date="2026-01-02")


def test_loops_are_timed_through_an_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "WARM_SECONDS", 0.0)
    monkeypatch.setattr(runtimes, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(runtimes, "TURNS", 1)
    monkeypatch.setattr(runtimes, "TURNS_PER_LAYOUT", 1)
    monkeypatch.setattr(runtimes, "FIXED_ROUNDS", {})
    kernels = [NamedModule(name=name, data=assemble(EMPTY)) for name in ("a", "b")]
    times, lacking = time_runtimes(kernels, ["wasmtime"])
    assert lacking == []
    assert [each.loop for each in times] == list(LOOPS)
    assert all(each.modules == ("a", "b", "empty call") for each in times)
    assert {each.loop for each in times if len(each.layouts) == LAYOUTS} == set(PREPENDED)
    assert all(len(each.layouts) == 1 for each in times if each.loop not in PREPENDED)


def test_interpreters_run_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WARM_SECONDS": 0.0, "LEAST_SECONDS": 0.0, "TURNS": 1, "COMPILERS": ()}.items():
        monkeypatch.setattr(runtimes, name, value)
    monkeypatch.setattr(runtimes, "FIXED_ROUNDS", {})
    kernels = [NamedModule(name=name, data=assemble(EMPTY)) for name in ("a", "b")]
    times, _ = time_runtimes(kernels, ["wasmtime"])
    assert [len(each.layouts) for each in times] == [1] * len(LOOPS)


def test_runtime_that_refuses_a_module_is_named() -> None:
    bad = assemble(EMPTY).replace(b"\x42\x80\x08\x0b", b"\x41\x80\x08\x0b")  # an i32 where an i64 is due
    with pytest.raises(RuntimeFailedError, match="wasmtime refuses bad"):
        time_runtimes([NamedModule(name="bad", data=bad)] * 2, ["wasmtime"])


def test_configurations_are_those_of_the_suite() -> None:
    known = runtimes._suite("adapter.find").find_adapters()
    assert set(RUNTIMES) <= set(known)


def test_page_is_printed_by_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "kernel.wasm"
    path.write_bytes(assemble(EMPTY))
    monkeypatch.setattr(command, "time_runtimes", lambda *_, **__: (TIMES, []))
    arguments = ["bench", str(path), "--against", str(path), "--runtimes"]
    assert cli.main([*arguments, "--markdown"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("# The kernel on compilers and interpreters")
    assert cli.main([*arguments, "--json"]) == ExitCode.DONE
    data = json.loads(capsys.readouterr().out)
    assert data["lacking"] == []
    assert data["loops"][0]["layouts"] == [[3.0, 4.0, 1.0], [2.0, 5.0, 1.5]]
    assert data["loops"][0]["nanoseconds"] == [2.0, 4.0, 1.0]


ALONE = {"runtimes": ["--runtimes"], "allocators": ["--allocators"]}


@pytest.mark.parametrize("options", ALONE.values(), ids=ALONE)
def test_option_that_needs_another_says_so(options: list[str], tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "kernel.wasm"
    path.write_bytes(assemble(EMPTY))
    assert cli.main(["bench", str(path), *options]) == ExitCode.USAGE
    assert options[0] in capsys.readouterr().err


def test_reset_after_the_rounds_counts_with_them() -> None:
    """What a kernel did not clear in `alloc` it may clear there."""
    used = 0

    def turn(rounds: int) -> float:
        nonlocal used
        cleared, used = used, rounds
        return 1e-3 + rounds * 3e-9 + cleared * 2e-9  # a call, its rounds, and the `reset` it begins with

    assert list(_time_loop([turn], 10_000)) == [pytest.approx(5.0)]
