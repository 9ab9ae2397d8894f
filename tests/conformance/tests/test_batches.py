"""Batches and references: what is sent, what is believed, and that both ways come to the same verdicts."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from extism_kernel_conformance.adapter.answers import check_answer
from extism_kernel_conformance.adapter.connection import Connection, Reference
from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.base.schema import load_check
from extism_kernel_conformance.cases.expressions import parse_expression
from extism_kernel_conformance.cases.relations import parse_expectation
from extism_kernel_conformance.play.variables import Cell, PromisedExpectation, Variables

from .conftest import toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

ANSWERS: dict[str, list[dict[str, object]]] = {
    "call": [
        {"values": []},
        {"values": ["i64:0"]},
        {"values": ["i32:18446744073709551615"]},
        {"values": ["i64:00"]},
        {"values": ["i64:-1"]},
        {"values": ["i64:1\n"]},
        {"values": ["i64:1", "i64:2"]},
        {"values": ["f32:00000000"]},
        {"values": "i64:1"},
        {"values": [1]},
        {"values": ["i64:1"], "used": "7"},
        {"values": ["i64:1"], "used": 7},
        {"values": ["i64:1"], "used": "07"},
        {"values": ["i64:1"], "took": "7"},
        {"values": ["i64:1"], "used": "7", "took": 3},
        {},
    ],
    "read": [
        {"bytes": ""},
        {"bytes": "00ff"},
        {"bytes": "0"},
        {"bytes": "0G"},
        {"bytes": "FF"},
        {"bytes": 1},
        {},
    ],
    "write": [{}, {"bytes": ""}],
    "instantiate": [{}, {"instance": "a"}],
    "drop": [{}, {"values": []}],
    "size": [{}, {"pages": 1}, {"pages": -1}],
}
FLAT = [(op, answer) for op, answers in ANSWERS.items() for answer in answers]


@pytest.mark.parametrize(("op", "answer"), FLAT, ids=[f"{op}-{json.dumps(answer)}" for op, answer in FLAT])
def test_glance_believes_what_the_schema_believes(op: str, answer: dict[str, object]) -> None:
    whole = {"result": "ok", **answer}
    wanted = not list(load_check("protocol.schema.json", f"answer-{op}")({"id": 1, **whole}, ""))
    for in_batch in (True, False):
        try:
            check_answer(op, whole if in_batch else {"id": 1, **whole}, in_batch=in_batch)
        except AdapterFault:
            believed = False
        else:
            believed = True
        assert believed == wanted


class Open(Connection):
    """A connection whose answers never come, and whose batch is never sent."""

    def __init__(self) -> None:
        self.is_asked = False

    @property
    def is_idle(self) -> bool:
        return self.is_asked

    def settle_next(self) -> None:
        self.is_asked = True


def make_variables(**cells: int | None) -> Variables:
    variables = Variables(Open())
    for place, (name, value) in enumerate(cells.items()):
        variables.cells[name] = Cell(name, value, Reference(0, place) if value is None else None)
    return variables


@pytest.mark.parametrize(
    ("text", "written"),
    {
        "$known+1": "8",
        "$later": "@1",
        "$later+8": "@1+8",
        "8+$later+$known": "@1+15",
        "$later-1": "@1+18446744073709551615",
        "$pages*65536+3": "@2*65536+3",
        "3*$pages*$known": "@2*21",
        "5-$pages": "@2*18446744073709551615+5",
    }.items(),
)
def test_number_refers_to_the_call_that_promises_it(text: str, written: str) -> None:
    variables = make_variables(known=7, later=None, pages=None)
    assert variables.write(variables.promise(parse_expression(text))) == written


@pytest.mark.parametrize("text", ["$later+$pages", "$later*$pages", "$later+$later"])
def test_number_that_no_reference_says_waits_for_its_answers(text: str) -> None:
    variables = make_variables(later=None, pages=None)
    with pytest.raises(CaseFailed, match="returned no value"):
        variables.write(variables.promise(parse_expression(text)))
    assert variables.connection.is_idle


def test_let_over_a_promise_is_a_promise() -> None:
    variables = make_variables(later=None)
    variables.set("x", variables.promise(parse_expression("$later+8")))
    assert variables.write(variables.promise(parse_expression("$x*2+1"))) == "@0*2+17"
    variables.cells["later"].value = 100
    assert variables.write(variables.promise(parse_expression("$x*2+1"))) == "217"


def test_expectation_of_a_promise_is_resolved_when_it_is_kept() -> None:
    variables = make_variables(later=None)
    expectation = variables.expect(parse_expectation({"gt": "$later", "lt": "$later+9"}))
    assert isinstance(expectation, PromisedExpectation)
    variables.cells["later"].value = 100
    assert expectation.resolve().holds(101)
    assert not expectation.resolve().holds(109)


STEPS: dict[str, list[dict[str, object]]] = {
    "handles": [
        {"call": "alloc", "args": [8], "bind": "a"},
        {"write": "$a+1", "hex": "77"},
        {"read": "$a", "len": 3, "expect": "007700"},
        {"call": "alloc", "args": ["$a"], "expect": {"gt": "$a"}},
    ],
    "wrong-handle": [
        {"call": "alloc", "args": [8], "bind": "a"},
        {"call": "alloc", "args": [8], "expect": "$a"},
    ],
    "wrong-bytes": [
        {"call": "alloc", "args": [8], "bind": "a"},
        {"read": "$a+1", "len": 2, "expect": "0001"},
    ],
    "second-instance": [
        {"instantiate": "b"},
        {"call": "alloc", "args": [8], "bind": "a", "instance": "b"},
        {"call": "alloc", "args": [8], "expect": "$a"},
    ],
    "family": [
        {"repeat": 40, "index": "i", "steps": [{"call": "alloc", "args": [8], "bind": "h[$i]"}]},
        {"repeat": 39, "index": "i", "steps": [{"write": "$h[$i+1]", "hex": "01"}]},
        {"read": "$h[0]", "len": 1, "expect": "00"},
        {"pages": 1, "bind": "p"},
        {"write": "$p*65536-1", "hex": "55"},
        {"read": "$p*65536-1", "len": 2},
    ],
}


def test_cases_come_to_the_same_in_batches_and_without(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    cases = write_cases(*({"id": f"toy/{name}", "steps": steps} for name, steps in STEPS.items()))
    lines = []
    for fault in ("none", "none-in-batches"):
        report = tmp_path / f"{fault}.jsonl"
        argv = ["--cases", cases, "--command", toy_adapter(fault), "--no-lint", "--report", report]
        cli("run", toy_kernel, *argv)
        found = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
        lines.append([{**line, "ms": 0} for line in found if line["type"] == "case"])
    for alone, together in itertools.zip_longest(*lines):
        assert alone == together
    assert {line["id"]: line["verdict"] for line in lines[0]} == {
        "toy/family": "fail",
        "toy/handles": "pass",
        "toy/second-instance": "pass",
        "toy/wrong-bytes": "fail",
        "toy/wrong-handle": "fail",
    }
