"""Kernel cases inside a host: what becomes of a case, what its plug-in reports, and what is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wasmtime
from extism_kernel_conformance.base.outcome import CaseFailed, CaseSkipped
from extism_kernel_conformance.cases.load import Case, load_cases, parse_case
from extism_kernel_conformance.play.probe_player import judge_answer
from extism_kernel_conformance.probe.cases import cases_of
from extism_kernel_conformance.probe.module import EXPORT, imports_of, make_module
from extism_kernel_conformance.probe.translate import MOST_STEPS, translate
from extism_kernel_conformance.run.settings import Settings, select_cases

from .conftest import SUITE

Steps = list[dict[str, Any]]
KERNEL = SUITE.parents[1] / "extism_kernel_pkg" / "extism-runtime.wasm"

# A bump allocator; its functions are what the tests need of a kernel, right or wrong.
TOY = """
(module
  (memory (export "memory") 1)
  (global $top (mut i64) (i64.const 1024))
  (global $at (mut i64) (i64.const 0))
  (global $size (mut i64) (i64.const 0))
  (func (export "alloc") (param i64) (result i64)
    (local $block i64)
    (local.set $block (global.get $top))
    (global.set $top
      (i64.and (i64.add (i64.add (global.get $top) (local.get 0)) (i64.const 7)) (i64.const -8)))
    (local.get $block))
  (func (export "free") (param i64))
  (func (export "length") (param i64) (result i64) LENGTH)
  (func (export "load_u8") (param i64) (result i32) (i32.load8_u (i32.wrap_i64 (local.get 0))))
  (func (export "load_u64") (param i64) (result i64) (i64.load (i32.wrap_i64 (local.get 0))))
  (func (export "store_u8") (param i64 i32) (i32.store8 (i32.wrap_i64 (local.get 0)) (local.get 1)))
  (func (export "store_u64") (param i64 i64) (i64.store (i32.wrap_i64 (local.get 0)) (local.get 1)))
  (func (export "reset") (global.set $top (i64.const 1024)))
  (func (export "error_set") (param i64))
  (func (export "output_set") (param i64 i64) (global.set $at (local.get 0)) (global.set $size (local.get 1)))
  (func (export "output_offset") (result i64) (global.get $at))
  (func (export "output_length") (result i64) (global.get $size)))
"""


def parse(steps: Steps, **head: object) -> Case:
    value = {"id": "toy/x", "since": "1.0.0", "spec": ["A-1"], "level": "must", "title": "x", "steps": steps}
    case, findings = parse_case({**value, **head}, path=Path("toy.json"), number=0)
    assert case is not None, findings
    return case


def play(case: Case, *, length: str = "(local.get 0)") -> None:
    """Play a case in a probe on the toy, as a host would that does nothing but call it."""
    program = translate(case)
    engine = wasmtime.Engine()
    store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
    toy = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(TOY.replace("LENGTH", length))))
    kernel = linker.instantiate(store, toy).exports(store)
    for module, name in imports_of(program):
        linker.define(store, module, name, kernel[name.removeprefix("extism_")])
    probe = linker.instantiate(store, wasmtime.Module(engine, make_module(program))).exports(store)
    try:
        assert probe[EXPORT](store) == 0  # type: ignore[operator]
    except wasmtime.Trap as trap:
        judge_answer(program, {"result": "fail", "message": trap.message.splitlines()[-1]})
        return
    at, size = kernel["output_offset"](store), kernel["output_length"](store)  # type: ignore[operator]
    output = bytes(kernel["memory"].read(store, at, at + size))  # type: ignore[union-attr]
    judge_answer(program, {"result": "ok", "output": output.hex()})


LARGEST = "0xffffffffffffffff"
PASSES: dict[str, Steps] = {
    "nothing-checked": [{"call": "reset"}],
    "relations": [
        {"call": "alloc", "args": [8], "bind": "a", "expect": {"ge": 1024, "le": 1024, "multiple_of": 8}},
        {"call": "alloc", "args": [8], "expect": {"in": [5, "$a+8"], "ne": "$a", "lt": "$a+9"}},
        {"call": "length", "args": ["$a"], "expect": {"any": True}},
    ],
    "sums-wrap": [
        {"call": "length", "args": [5], "bind": "five", "expect": {"gt": 0}},
        {"call": "length", "args": ["$five-6"], "expect": LARGEST},
        {"call": "length", "args": [f"$five*{LARGEST}+5"], "expect": 0},
        {"let": "x", "be": f"{LARGEST}-$five"},
        {"call": "length", "args": ["2*$x+3+$five+$five"], "expect": 1},
    ],
    "comparisons-are-unsigned": [
        {"call": "length", "args": [LARGEST], "bind": "most", "expect": {"gt": 1, "ge": "1", "ne": 0}},
        {"call": "length", "args": [1], "expect": {"lt": "$most", "le": "$most"}},
        {"call": "length", "args": ["0x8000000000000000"], "expect": {"gt": "0x7fffffffffffffff"}},
        {"call": "length", "args": [LARGEST], "expect": {"multiple_of": "0x5555555555555555"}},
    ],
    "i32-arguments-lose-the-high-bits": [
        {"call": "alloc", "args": [8], "bind": "a"},
        {"call": "store_u8", "args": ["$a", "0xffffffff000001fe"]},
        {"call": "load_u8", "args": ["$a"], "expect": 254},
    ],
    "loops-and-families": [
        {"let": "n", "be": 3},
        {"repeat": "$n+1", "index": "i", "steps": [
            {"for": "k", "in": [1, "$i"], "steps": [
                {"call": "alloc", "args": ["$k+8"], "bind": "h[2*$i]"}]}]},
        {"repeat": "$n", "index": "i", "steps": [
            {"let": "d", "be": "$h[2*$i+2]-$h[2*$i]"},
            {"call": "length", "args": ["$d"], "expect": {"in": [24, 32]}}]},
    ],
    "rebinding": [
        {"call": "alloc", "args": [8], "bind": "a"},
        {"call": "alloc", "args": [8], "bind": "a", "expect": "$a+8"},
        {"call": "alloc", "args": [8], "expect": {"eq": "$a+8", "ne": "$a"}},
    ],
    "bytes-of-a-block": [
        {"call": "alloc", "args": [40], "bind": "a"},
        {"write": "$a+1", "hex": "00112233445566778899aabb"},
        {"read": "$a+1", "len": 12, "expect": "00112233445566778899aabb"},
        {"call": "load_u8", "args": ["$a+12"], "expect": 0xBB},
        {"write": "$a", "fill": "ee", "len": 40},
        {"read": "$a+3", "len": 37, "expect_fill": "EE"},
        {"read": "$a+3", "len": 0, "expect_fill": "EE"},
    ],
    "bytes-across-blocks": [
        {"call": "alloc", "args": [9], "bind": "a"},
        {"call": "alloc", "args": [9], "bind": "b", "expect": "$a+16"},
        {"write": "$a+2", "fill": "01", "len": 20},
        {"read": "$b", "len": 6, "expect": "010101010101"},
    ],
    "setup-comes-first": [{"call": "length", "args": ["$s"], "expect": 1024}],
}  # fmt: skip


@pytest.mark.parametrize("name", PASSES)
def test_probe_passes(name: str) -> None:
    play(parse(PASSES[name], setup=[{"call": "alloc", "args": [0], "bind": "s"}]))


FAILS: dict[str, tuple[Steps, str]] = {
    "wrong-result": (
        [{"call": "alloc", "args": [1], "bind": "a"}, {"call": "length", "args": ["$a+1"], "expect": "$a"}],
        "steps[1]: expected 1024, got 1025",
    ),
    "largest-value": (
        [{"call": "length", "args": [LARGEST], "expect": {"lt": "0x8000000000000000"}}],
        f"steps[0]: expected less than {1 << 63}, got {(1 << 64) - 1}",
    ),
    "none-of-a-list": (
        [{"call": "alloc", "args": [1], "bind": "a"},
         {"call": "length", "args": [7], "expect": {"in": [6, "$a"]}}],
        "steps[1]: expected one of 6, $a, got 7",
    ),
    "second-relation": (
        [{"call": "length", "args": [12], "expect": {"ge": 12, "multiple_of": 8}}],
        "steps[0]: expected a multiple of 8, got 12",
    ),
    "in-a-loop": (
        [{"repeat": 4, "index": "i", "steps": [
            {"for": "n", "in": [1, 2], "steps": [
                {"call": "length", "args": ["$i+$n"], "expect": {"lt": 4}}]}]}],
        "steps[0].steps[0].steps[0], round 2, n = 2: expected less than 4, got 4",
    ),
    "after-a-hundred-steps": (
        [{"repeat": 150, "index": "i", "steps": [{"call": "length", "args": ["$i"], "expect": {"ne": 149}}]}],
        "round 149: expected not 149, got 149",
    ),
    "word-of-a-read": (
        [{"call": "alloc", "args": [24], "bind": "a"}, {"write": "$a+9", "hex": "07"},
         {"read": "$a", "len": 20, "expect": "00" * 20}],
        "steps[2]: expected 0000000000000000 at +8, got 0007000000000000",
    ),
    "tail-of-a-read": (
        [{"call": "alloc", "args": [24], "bind": "a"}, {"write": "$a+18", "hex": "07"},
         {"read": "$a", "len": 20, "expect": "00" * 20}],
        "steps[2]: expected 00 at +18, got 07",
    ),
    "word-of-a-run": (
        [{"call": "alloc", "args": [90], "bind": "a"}, {"write": "$a", "fill": "aa", "len": 63},
         {"read": "$a", "len": 64, "expect_fill": "aa"}],
        "steps[2]: expected aa at +56, got aaaaaaaaaaaaaa00 at +56",
    ),
    "tail-of-a-run": (
        [{"call": "alloc", "args": [90], "bind": "a"}, {"write": "$a", "fill": "aa", "len": 65},
         {"read": "$a", "len": 66, "expect_fill": "aa"}],
        "steps[2]: expected aa at +65, got 00 at +65",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILS)
def test_probe_names_the_first_broken_promise(name: str) -> None:
    steps, message = FAILS[name]
    later = {"call": "length", "args": [1], "expect": 2}
    with pytest.raises(CaseFailed) as failure:
        play(parse([*steps, later]))
    assert message in str(failure.value)


def test_probe_that_traps_is_a_failure() -> None:
    with pytest.raises(CaseFailed, match="expected the probe ends, got error"):
        play(parse([{"call": "length", "args": [1]}]), length="(unreachable)")


def test_first_generation_case_needs_no_name_of_the_second() -> None:
    steps: Steps = [
        {"call": "extism_alloc", "args": [16], "bind": "a"},
        {"write": "$a", "fill": "aa", "len": 16},
        {"read": "$a", "len": 9, "expect": "aa" * 9},
        {"call": "extism_length", "args": ["$a"], "expect": 1024},
    ]
    imports = imports_of(translate(parse(steps)))
    assert {module for module, _ in imports} == {"env"}
    assert all(name.startswith("extism_") for _, name in imports)
    play(parse(steps))


def test_probe_imports_just_what_it_calls() -> None:
    imports = imports_of(translate(parse([{"call": "extism_length", "args": [1]}, {"call": "reset"}])))
    host = [name for module, name in imports if module == "extism:host/env"]
    assert host == ["alloc", "output_set", "reset", "store_u64"]
    assert [name for module, name in imports if module == "env"] == ["extism_length"]


ALLOC = {"call": "alloc", "args": [8], "bind": "a"}
NOT_PLAYABLE: dict[str, tuple[Steps, dict[str, object], str]] = {
    "first-call": ([ALLOC], {"spec": ["A-1", "L-1"]}, "the first call on an instance"),
    "limit": ([ALLOC], {"kernel": {"max_pages": 3}}, "a memory limit"),
    "fuel": ([{**ALLOC, "fuel": 9}], {}, "counting fuel"),
    "cut": ([{"cut": {"call": "reset"}, "every": 1, "max": 2, "then": [ALLOC]}], {}, "counting fuel"),
    "pages-in-a-loop": ([{"repeat": 2, "steps": [{"pages": 2}]}], {}, "seeing the size"),
    "growth": ([{"grow": 1}], {}, "growing the kernel's memory"),
    "global": ([{"global": "x", "expect": "i32:0"}], {}, "the kernel's globals"),
    "exports": ([{"exports": {"has_not": ["x"]}}], {}, "the kernel's module"),
    "module": ([{"module": {"imports": 0}}], {}, "the kernel's module"),
    "instances": ([{"instantiate": "b"}], {}, "several instances"),
    "trap": ([{"call": "reset", "expect_trap": "any"}], {}, "going on after a trap"),
    "outside-of-blocks": ([ALLOC, {"read": 0, "len": 8, "expect_fill": "00"}], {}, "of blocks (steps[1])"),
    "before-a-block": ([ALLOC, {"write": "$a-1", "hex": "00"}], {}, "outside of blocks"),
    "past-a-block": ([ALLOC, {"write": "$a+1", "fill": "00", "len": 8}], {}, "outside of blocks"),
    "after-reset": ([ALLOC, {"call": "reset"}, {"write": "$a", "hex": "00"}], {}, "outside of blocks"),
    "refused-block": (
        [{"call": "alloc", "args": ["0x100000000"], "bind": "a"}, {"write": "$a", "hex": "00"}],
        {}, "outside of blocks"),
    "block-that-must-be-0": (
        [{"call": "alloc", "args": [8], "expect": 0}, {"write": "0", "hex": "00"}], {}, "outside of blocks"),
    "read-without-comparison": ([ALLOC, {"read": "$a", "len": 8}], {}, "without a comparison"),
    "length-of-the-guest": ([ALLOC, {"read": "$a", "len": "$a", "expect_fill": "00"}], {}, "the guest knows"),
    "product-of-the-guest": ([ALLOC, {"let": "b", "be": "$a*$a"}], {}, "multiplies two values"),
    "too-long": ([{"repeat": MOST_STEPS, "steps": [ALLOC]}], {}, "more than 20,000 steps"),
    "too-long-by-a-variable": (
        [{"let": "n", "be": MOST_STEPS}, {"repeat": "$n", "steps": [ALLOC]}], {}, "more than 20,000 steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PLAYABLE)
def test_case_that_no_guest_can_play_is_skipped_with_its_need(name: str) -> None:
    steps, head, need = NOT_PLAYABLE[name]
    with pytest.raises(CaseSkipped) as skip:
        translate(parse(steps, **head))
    assert need in str(skip.value)


def test_handle_given_again_after_reset_is_a_block_again() -> None:
    again = {"call": "alloc", "args": [8], "expect": "$a"}
    play(
        parse(
            [
                ALLOC,
                {"call": "reset"},
                again,
                {"write": "$a", "hex": "07"},
                {"read": "$a", "len": 1, "expect": "07"},
            ]
        )
    )


def test_kernel_cases_keep_what_they_promise_under_another_id() -> None:
    case_set = load_cases(SUITE / "cases")
    kernel = {case.id: case for case in cases_of(case_set, "kernel")}
    probes = [case for case in cases_of(case_set, "sdk") if case.id.startswith("probe/")]
    assert [case.id.removeprefix("probe/") for case in probes] == list(kernel)
    for case in probes:
        of_kernel = kernel[case.id.removeprefix("probe/")]
        assert (case.spec, case.level, case.slow) == (of_kernel.spec, of_kernel.level, of_kernel.slow)


@pytest.mark.parametrize(("level", "has_probes"), [((1, 0), False), ((1, 1), True), (None, True)])
def test_suite_level_of_before_probes_has_none(level: tuple[int, int] | None, *, has_probes: bool) -> None:
    chosen = select_cases(load_cases(SUITE / "cases"), Settings(profile="sdk", level=level))
    assert any(case.id.startswith("probe/") for case in chosen) == has_probes
    assert any(case.id.startswith("sdk-") for case in chosen)
