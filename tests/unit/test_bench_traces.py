"""Traces of `alloc` and `free`: what is counted, what is missed, and the allocators beside the kernel."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ExitCode, ModuleMalformedError
from build_tools.bench import allocators, command, groups
from build_tools.bench.allocators import AllocatorsError, build_allocators
from build_tools.bench.bulk import BYTES, CALLS, EXTRA_FUEL, count_bulk
from build_tools.bench.groups import Group, PlayedGroup, play_group, render_arguments, render_group
from build_tools.bench.metered import PAGE_BYTES, NamedModule, Workshop
from build_tools.bench.play import SINGLY, play_trace
from build_tools.bench.tables import costs_to_data, render_costs, render_markdown
from build_tools.bench.traces import (
    CHURN,
    FILLS,
    FREED,
    MEMORY,
    Operations,
    Trace,
    across,
    between,
    churn,
    fill,
)
from build_tools.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from build_tools.bench.metered import Instance

Capture = pytest.CaptureFixture[str]
BUMP = """
(global $next (mut i64) (i64.const 1024))
(func (export "alloc") (param $length i64) (result i64)
  (local $block i64)
  (local.set $block (global.get $next))
  (global.set $next (i64.add (global.get $next) (local.get $length)))
  {clear}
  (select (local.get $block) (i64.const 0) (i64.le_u (global.get $next) (i64.const 65536))))
(func (export "free") (param i64))
"""
CLEAR = "(memory.fill (i32.wrap_i64 (local.get $block)) (i32.const 0) (i32.wrap_i64 (local.get $length)))"
COPY = "(memory.copy (i32.const 0) (i32.const 8) (i32.wrap_i64 (local.get $length)))"


def module(body: str) -> NamedModule:
    text = f'(module (memory (export "memory") 1) {body})'
    return NamedModule(name="tried", data=bytes(wasmtime.wat2wasm(text)))


def bump(clear: str = "") -> NamedModule:
    """Return an allocator that never reuses; it refuses what does not fit its page."""
    return module(BUMP.replace("{clear}", clear))


def filling(count: int, length: int = 8, **options: float) -> Trace:
    trace = Trace(name="tried", operations=lambda: fill(count, between(length, length)), goal=100)
    return dataclasses.replace(trace, **options)  # type: ignore[arg-type]


def bulk(instance: Instance) -> tuple[int, int]:
    values = [instance.exports[name] for name in (BYTES, CALLS)]
    counts = [value.value(instance.store) for value in values if isinstance(value, wasmtime.Global)]
    return counts[0], counts[1]


@pytest.mark.parametrize("clear", [CLEAR, COPY], ids=["fill", "copy"])
def test_counted_module_adds_up_bytes_and_costs_the_same(clear: str) -> None:
    """C-5: a byte that is cleared or copied counts 1/16, so it must be told from an instruction."""
    plain = Workshop(bump(clear)).instantiate()
    counted = Workshop(NamedModule(name="counted", data=count_bulk(bump(clear).data))).instantiate()
    for calls, length in enumerate((1, 100, 1000), start=1):
        handle, fuel = plain.count("alloc", length)
        assert counted.count("alloc", length) == (handle, fuel + EXTRA_FUEL)
        assert bulk(counted)[1] == calls
    assert bulk(counted) == (1101, 3)


def test_module_without_bulk_instructions_counts_none(sound: bytes) -> None:
    counted = Workshop(NamedModule(name="counted", data=count_bulk(sound))).instantiate()
    assert bulk(counted) == (0, 0)


def test_mean_of_a_trace_is_that_of_single_calls() -> None:
    """C-5: the player's own instructions are left out, one by one or in stretches."""
    instance = Workshop(bump(CLEAR)).instantiate()
    fuel = instance.count("alloc", 8)[1]
    few = play_trace(bump(CLEAR), filling(100))
    many = play_trace(bump(CLEAR), filling(SINGLY + 300))
    assert (few.mean, few.most, few.units) == (fuel, fuel, 100)
    assert (many.mean, many.most, many.units) == (fuel, fuel, SINGLY + 300)
    assert play_trace(bump(CLEAR), filling(100, bulk=16)).mean == fuel - 8 + 8 / 16


def test_most_of_many_calls_is_found_in_a_stretch() -> None:
    lengths = iter([1] * 1500 + [30_000] + [1] * 1000)
    operations = fill(SINGLY + 300, lambda _: next(lengths))
    trace = Trace(name="tried", operations=lambda: operations, goal=1)
    usual = play_trace(bump(CLEAR), filling(10, 1)).mean
    assert play_trace(bump(CLEAR), trace).most == usual + 30_000 - 1


ENDS = {
    "refused": (bump(), filling(10, 30_000), "block 2 was refused", 2),
    "trap": (bump("unreachable"), filling(10), "unreachable", 0),
}


@pytest.mark.parametrize(("tried", "trace", "message", "units"), ENDS.values(), ids=ENDS)
def test_trace_that_ends_early_says_why(tried: NamedModule, trace: Trace, message: str, units: int) -> None:
    played = play_trace(tried, trace)
    assert message in (played.end or "")
    assert played.units == units


def test_trace_is_given_up_after_its_budget() -> None:
    played = play_trace(bump(), filling(100), budget=500)
    assert (played.end or "").startswith("more than 500 instructions after")
    assert 0 < played.units < 100
    churning = Trace(name="tried", operations=lambda: churn(50, between(8, 8), 5), goal=1, calls_per_unit=2)
    assert "before the first call" in (play_trace(bump(), churning, budget=100).end or "")


def test_pages_are_those_of_the_end() -> None:
    grow = '(func (export "alloc") (param i64) (result i64) (i64.extend_i32_u (memory.grow (i32.const 1))))'
    played = play_trace(module(f'{grow} (func (export "free") (param i64))'), filling(3))
    assert played.pages == 4


def test_module_that_lacks_an_export_is_named() -> None:
    with pytest.raises(ModuleMalformedError, match="cannot be played on"):
        play_trace(module(""), filling(1))


def test_operations_know_the_peak_of_live_bytes() -> None:
    operations = Operations()
    operations.alloc(0, 10)
    operations.replace(0, 30)
    operations.replace(1, 5)
    assert (operations.live, operations.peak, operations.slots, len(operations)) == (35, 35, 2, 4)
    assert list(operations.data) == [0, 10, 0, FREED, 0, 30, 1, 5]
    assert operations.count_frees(0, 4) == 1


def test_traces_are_the_same_in_every_run() -> None:
    for trace in (FILLS[0], FILLS[4], CHURN[0], MEMORY[0], MEMORY[3]):
        assert trace.operations().data == trace.operations().data
    rng = random.Random(1)  # noqa: S311 - the same in every run
    lengths = [across(16, 1024)(rng) for _ in range(200)]
    assert 16 <= min(lengths) < 32
    assert 512 < max(lengths) <= 1024


def played_group(*, goal: float, is_memory: bool = False, argument: str | None = None) -> PlayedGroup:
    trace = filling(10, goal=goal)
    trace = dataclasses.replace(trace, argument=argument)
    group = Group(title="Tried", text="What it is.", traces=(trace,), is_memory=is_memory)
    return play_group(group, [bump(), bump()], lambda: None)


def test_missed_goal_is_argued_under_its_table() -> None:
    missed = played_group(goal=1, argument="it clears")
    assert render_arguments(missed) == ["tried: it clears."]
    assert render_arguments(played_group(goal=1)) == ["tried: missed."]
    assert render_arguments(played_group(goal=1000)) == []
    assert "- tried: it clears." in render_markdown([], [], [], [missed])
    assert "tried: it clears." in render_costs([], [], [], [missed])


def test_tables_show_the_mean_and_pages_over_live_bytes() -> None:
    header, rows = render_group(played_group(goal=100))
    assert header == ("trace", "goal", "tried", "tried")
    assert rows[0][:2] == ("tried", "100")
    fuel = Workshop(bump()).instantiate().count("alloc", 8)[1]
    assert rows[0][2] == rows[0][3] == f"{fuel} ({fuel})"
    _, rows = render_group(played_group(goal=1, is_memory=True))
    assert rows[0][2] == f"1 ({PAGE_BYTES / 80:.2f})"
    data = costs_to_data([], [], [], [played_group(goal=100)])
    assert data["traces"][0]["rows"][0]["peak_live_bytes"] == 80


def test_trace_that_a_module_does_not_finish_is_marked() -> None:
    group = Group(title="Tried", text="", traces=(filling(10, 30_000),))
    _, rows = render_group(play_group(group, [bump(), bump("unreachable")], lambda: None))
    assert rows[0][2].endswith("+")
    assert rows[0][3] == "-"


@pytest.fixture
def one_group(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the command play one small group that C-5 bounds, of a goal."""

    def choose(goal: float) -> None:
        group = Group(title="Tried", text="", traces=(filling(10, goal=goal),), clause="C-5")
        monkeypatch.setattr(command, "GROUPS", (group,))
        monkeypatch.setattr(command, "SCENARIOS", ())

    return choose


@pytest.mark.parametrize(("goal", "code"), [(1, ExitCode.FINDINGS), (1000, ExitCode.DONE)])
def test_broken_bound_of_a_trace_is_a_finding(
    goal: float, code: ExitCode, one_group: Callable[[float], None], tmp_path: Path, capsys: Capture
) -> None:
    """C-5: and allocators that cannot be compiled are left out, with the reason."""
    one_group(goal)
    path = tmp_path / "bump.wasm"
    path.write_bytes(bump().data)
    assert cli.main(["bench", str(path), "--traces", "--no-wall", "--json"]) == code
    assert [each["title"] for each in json.loads(capsys.readouterr().out)["traces"]] == ["Tried"]


def test_allocators_that_cannot_be_compiled_are_left_out(
    one_group: Callable[[float], None],
    make_program: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    one_group(1000)
    make_program("cargo", "echo no network >&2; exit 101")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "bump.wasm"
    path.write_bytes(bump().data)
    arguments = ["bench", str(path), "--traces", "--allocators", "--no-wall", "--json"]
    assert cli.main(arguments) == ExitCode.DONE
    shown = capsys.readouterr()
    assert "left out" in shown.err
    assert "allocators-not-built" in shown.err
    assert len(json.loads(shown.out)["traces"][0]["rows"][0]["modules"]) == 1


def test_allocators_are_compiled_into_the_cache(
    make_program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "allocators" / allocators.TARGET / "release"
    folder.mkdir(parents=True)
    make_program("cargo", f'for last; do :; done; echo "$last" > {folder}/extism_kernel_allocators.wasm')
    built = list(build_allocators(tmp_path))
    assert [(each.name, each.data.decode().strip()) for each in built] == [
        (name, name) for name in allocators.NAMES
    ]


def test_allocators_without_cargo_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AllocatorsError, match="`cargo` is not on PATH") as caught:
        list(build_allocators(tmp_path))
    assert "rustup.rs" in (caught.value.hint or "")


def test_crate_of_allocators_has_each_as_a_feature_and_locks_it() -> None:
    manifest = (allocators.CRATE / "Cargo.toml").read_text(encoding="utf-8")
    lock = (allocators.CRATE / "Cargo.lock").read_text(encoding="utf-8")
    for name in allocators.NAMES:
        assert f'\n{name} = ["dep:{name}"]' in manifest
        assert f'name = "{name}"' in lock


def test_groups_have_each_trace_once() -> None:
    names = [trace.name for group in groups.GROUPS for trace in group.traces]
    assert len(names) == len(set(names))
