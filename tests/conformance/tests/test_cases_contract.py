"""The committed cases: well formed, and nothing of the contract that can be seen from outside is left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from extism_kernel_conformance.base.resources import contract_types
from extism_kernel_conformance.cases.load import Case, load_cases, read_cases
from extism_kernel_conformance.cases.steps import Call, Cut, For, Repeat, Step

SUITE = Path(__file__).resolve().parents[1]
CLAUSES = [
    *(
        f"S-{n}" for n in (1, 2, 3, 4, 6, 7)
    ),  # S-5 is a matter of the build: a runtime that loads the module shows it
    *(f"A-{n}" for n in range(1, 9)),
    *(f"M-{n}" for n in range(1, 5)),
    *(f"R-{n}" for n in range(1, 5)),
    *(f"L-{n}" for n in range(1, 6)),
    *(f"C-{n}" for n in (1, 2, 3)),  # C-4 is the size of the file
]
MOST_STEPS = 40_000


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for case in load_cases(SUITE / "cases").cases if case.profile == "kernel"]


def test_case_files_have_no_findings() -> None:
    _, findings = read_cases(SUITE / "cases")
    assert not findings


def test_cases_are_at_least_the_promised_number(cases: list[Case]) -> None:
    assert len(cases) >= 120


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_has_a_case_that_must_pass(clause: str, cases: list[Case]) -> None:
    assert [case.id for case in cases if clause in case.spec and case.level == "must"]


@pytest.mark.parametrize("defect", range(1, 12))
def test_defect_of_todays_kernel_has_a_case(defect: int, cases: list[Case]) -> None:
    assert [case.id for case in cases if f"defect-{defect}" in case.tags]


@pytest.mark.parametrize("name", sorted(contract_types().keys() - {"extism_length_unsafe"}))
def test_function_of_the_contract_is_called(name: str, cases: list[Case]) -> None:
    assert any(name in _called(case.setup) | _called(case.steps) for case in cases)


def test_each_case_says_why_it_matters(cases: list[Case]) -> None:
    assert not [case.id for case in cases if not case.why]


def test_each_title_is_one_of_its_kind(cases: list[Case]) -> None:
    assert not [title for title, count in Counter(case.title for case in cases).items() if count > 1]


def test_quick_cases_are_quick(cases: list[Case]) -> None:
    sizes = {case.id: _size(case.setup) + _size(case.steps) for case in cases if not case.slow}
    assert not {name: size for name, size in sizes.items() if size > MOST_STEPS}


def test_case_files_hold_one_step_a_line() -> None:
    longest = {
        path.name: max(map(len, path.read_text(encoding="utf-8").splitlines()))
        for path in (SUITE / "cases").glob("*.json")
        if any(case.get("profile", "kernel") == "kernel" for case in json.loads(path.read_bytes())["cases"])
    }
    assert longest
    assert all(length < 1500 for length in longest.values()), (
        longest
    )  # the list of all exports is the longest


def _called(steps: tuple[Step, ...]) -> set[str]:
    names: set[str] = set()
    for step in steps:
        match step:
            case Call():
                names.add(step.name)
            case Repeat() | For():
                names |= _called(step.steps)
            case Cut():
                names |= {step.call.name} | _called(step.then)
    return names


def _size(steps: tuple[Step, ...]) -> int:
    """Steps that are run, a cut counted as four hundred of them at the most."""
    size = 0
    for step in steps:
        match step:
            case Repeat():
                size += step.times.evaluate(lambda _: 0) * _size(step.steps)
            case For():
                size += len(step.values) * _size(step.steps)
            case Cut():
                size += min(step.most // step.every, 400) * _size(step.then)
            case _:
                size += 1
    return size
