"""The proof of the staged kernel, and mutants of its guards that it refuses (C-1 L-3 M-1 M-2 M-3 M-4 R-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("z3", reason="the proof needs z3: `python -m build_tools test` installs it")

import z3
from wasmtime import wat2wasm

from build_tools.base.errors import ModuleMalformedError
from build_tools.base.project import find_project
from build_tools.kernel.values import FILENAMES
from build_tools.proof.claims import CLAIMS, check_claims
from build_tools.proof.code import read_program
from build_tools.proof.links import LINKED
from build_tools.proof.page import render_page
from build_tools.proof.paths import count_longest
from build_tools.proof.runs import execute, execute_linked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.proof.claims import Verdict
    from build_tools.proof.code import Instruction, Program

OPCODES = {
    "i32.lt_u": 0x49,
    "i32.gt_u": 0x4B,
    "i32.le_u": 0x4D,
    "i32.ge_u": 0x4F,
    "i64.lt_u": 0x54,
    "i64.gt_u": 0x56,
    "i64.le_u": 0x58,
    "i64.ge_u": 0x5A,
}
OFF_BY_ONE = {"i64.lt_u": "i64.le_u", "i64.le_u": "i64.lt_u", "i64.ge_u": "i64.gt_u", "i64.gt_u": "i64.ge_u"}
REVERSED = {"i64.lt_u": "i64.ge_u", "i64.le_u": "i64.gt_u", "i64.ge_u": "i64.lt_u", "i64.gt_u": "i64.le_u"}
BOUND = 700


@pytest.fixture(scope="module")
def kernel() -> bytes:
    path = find_project().package / FILENAMES["core"]
    if not path.is_file():
        pytest.skip("no kernel is staged: `python -m build_tools kernel`")
    return path.read_bytes()


def broken(data: bytes, export: str) -> list[Verdict]:
    program = read_program(data)
    run = execute_linked(program, export) if export in LINKED else execute(program, export)
    claims = LINKED[export] if export in LINKED else CLAIMS[export]
    return [each for each in check_claims(run, claims) if each.counterexample is not None]


@pytest.mark.parametrize("export", [*CLAIMS, *LINKED])
def test_every_claim_is_proved(export: str, kernel: bytes) -> None:
    assert broken(kernel, export) == []


@pytest.mark.parametrize("export", LINKED)
@pytest.mark.parametrize("is_ready", [True, False])
def test_assumed_state_exists(export: str, is_ready: bool, kernel: bytes) -> None:
    """A proof from assumptions that exclude each other would prove anything."""
    run = execute_linked(read_program(kernel), export)
    view = run.view(run.before, 0)
    solver = z3.Solver()
    solver.add(*run.assumptions, run.after.reached, (view.get("ready") != 0) == is_ready)
    assert solver.check() == z3.sat


def test_fresh_instance_meets_the_invariants(kernel: bytes) -> None:
    program = read_program(kernel)
    run = execute_linked(program, "length")
    begins = [value == number for value, number in zip(run.before.globals, program.initial, strict=True)]
    solver = z3.Solver()
    solver.add(*run.assumptions, *begins, run.before.pages == program.pages)
    assert solver.check() == z3.sat


@pytest.mark.parametrize(("export", "is_refused"), [*((each, False) for each in LINKED), ("free", True)])
def test_access_of_a_kind_that_is_not_modelled_is_refused(
    export: str, is_refused: bool, kernel: bytes
) -> None:
    """`free` stores into the bitmap of the bins: as long as that is not modelled nothing is proved of it."""
    run = execute_linked(read_program(kernel), export)
    checks = run.view(run.before, 0).table.checks
    assert any(z3.is_false(each.holds) for each in checks) is is_refused


def walk(code: tuple[Instruction, ...]) -> Iterator[Instruction]:
    for each in code:
        yield each
        yield from walk((*each.body, *each.orelse))


def walk_calls(program: Program, index: int) -> Iterator[Instruction]:
    for each in walk(program.functions[index].body):
        yield each
        if each.name == "call":
            yield from walk_calls(program, each.immediates[0])


def mutate_guards(data: bytes, export: str, change: dict[str, str]) -> Iterator[bytes]:
    """Yield the module once for each comparison of an export and what it calls, with that one changed."""
    program = read_program(data)
    for each in walk_calls(program, program.exports[export]):
        if each.name in change:
            changed = bytearray(data)
            assert changed[each.at] == OPCODES[each.name]
            changed[each.at] = OPCODES[change[each.name]]
            yield bytes(changed)


MUTANTS = {
    "load_u8-off-by-one": ("load_u8", OFF_BY_ONE, "argument 0"),
    "store_u8-off-by-one": ("store_u8", OFF_BY_ONE, "argument 0"),
    "input_load_u8-off-by-one": ("input_load_u8", OFF_BY_ONE, "argument 0"),
    "load_u64-reversed": ("load_u64", REVERSED, "argument 0"),
    "store_u64-reversed": ("store_u64", REVERSED, "argument 0"),
    "input_load_u64-reversed": ("input_load_u64", REVERSED, "argument 0"),
    "length-handle-off-by-one": ("length", OFF_BY_ONE, "argument 0"),
    "length-link-reversed": ("length", {"i32.ge_u": "i32.lt_u"}, "argument 0"),
    "reset-hole-reversed": ("reset", {"i32.gt_u": "i32.le_u"}, "hole_next"),
}


@pytest.mark.parametrize(("export", "change", "shown"), MUTANTS.values(), ids=MUTANTS)
def test_changed_guard_is_refused_with_what_breaks_it(
    export: str, change: dict[str, str], shown: str, kernel: bytes
) -> None:
    refused = next(filter(None, (broken(each, export) for each in mutate_guards(kernel, export, change))), [])
    assert refused, "no changed guard was refused"
    assert all(f"{shown} = 0x" in str(each.counterexample) for each in refused)


def test_longest_path_of_each_export_is_within_the_bound(kernel: bytes) -> None:
    longest = count_longest(read_program(kernel))
    assert {name: length for name, length in longest.items() if length > BOUND} == {}


def test_page_says_what_is_proved(kernel: bytes) -> None:
    page = find_project().kernel_src / "PROOF.md"
    assert page.read_text(encoding="utf-8") == render_page(count_longest(read_program(kernel))), (
        "write it anew: `python -m build_tools prove --markdown > kernel-src/PROOF.md`"
    )


def module(body: str) -> bytes:
    return bytes(wat2wasm(f'(module (memory 2) (func (export "reset") {body}))'))


@pytest.mark.parametrize(("body", "message"), [("(loop nop)", "loop"), ("(drop (f32.const 1))", "f32.const")])
def test_code_that_is_not_modelled_is_refused_by_name(body: str, message: str) -> None:
    with pytest.raises(ModuleMalformedError, match=f"contains `{message}`"):
        read_program(module(body))


def test_recursion_has_no_longest_path() -> None:
    with pytest.raises(ModuleMalformedError, match="can call itself"):
        count_longest(read_program(module("call 0")))


PATHS = {
    "straight": ("(drop (i32.const 1))", 1),
    "longer-branch": ("(if (i32.const 0) (then) (else (drop (i32.const 1))))", 3),
    "skipped-by-a-branch": ("(block (br 0) (drop (i32.const 1)))", 1),
    "branch-not-taken": ("(block (br_if 0 (i32.const 0)) (drop (i32.const 1)))", 3),
    "return": ("(return) (drop (i32.const 1))", 0),
}


@pytest.mark.parametrize(("body", "length"), PATHS.values(), ids=PATHS)
def test_longest_path_is_counted_in_instructions(body: str, length: int) -> None:
    assert count_longest(read_program(module(body)))["reset"] == length


def test_module_without_the_exports_is_refused() -> None:
    with pytest.raises(ModuleMalformedError, match="reads 0 globals"):
        execute(read_program(module("")), "reset")
