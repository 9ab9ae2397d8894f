"""Every clause of the contract is held by a test, and the list of which is up to date."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ContractError, ExitCode
from build_tools.checks.clauses import (
    find_citations,
    find_cited,
    group,
    read_clauses,
    render,
    render_markdown,
)
from build_tools.cli import main as cli

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.checks.clauses import Citation

Capture = pytest.CaptureFixture[str]

CONTRACT = ROOT / "kernel-src" / "CONTRACT.md"
COVERAGE = ROOT / "kernel-src" / "COVERAGE.md"
COUNTS = {"S": 7, "A": 8, "M": 4, "R": 4, "L": 5, "C": 4}
"""How many clauses the contract has had from the start; ids are never taken back."""


def test_contract_states_every_clause_from_the_start() -> None:
    first = {f"{topic}-{number}" for topic, count in COUNTS.items() for number in range(1, count + 1)}
    assert first - set(read_clauses(CONTRACT)) == set()


@pytest.fixture(scope="module")
def citations() -> list[Citation]:
    """What the tests and cases of this checkout cite; reading them all takes a second."""
    return find_citations(ROOT)


def test_each_clause_is_held_by_a_test(citations: list[Citation]) -> None:
    groups = group(read_clauses(CONTRACT), citations)
    assert [clause for clause, found in groups.items() if not found] == [], "no test or case cites these"


def test_tests_cite_only_clauses_that_exist(citations: list[Citation]) -> None:
    clauses = set(read_clauses(CONTRACT))
    topics = {clause[0] for clause in clauses}
    unknown = {
        (each.file, each.name, each.clause)
        for each in citations
        if each.clause[0] in topics
        and each.clause not in clauses
        and each.file != "tests/unit/test_clauses.py"
    }
    assert unknown == set()


def test_coverage_is_up_to_date(citations: list[Citation]) -> None:
    groups = group(read_clauses(CONTRACT), citations)
    hint = "run `python -m build_tools clauses --markdown > kernel-src/COVERAGE.md`"
    assert COVERAGE.read_text(encoding="utf-8") == render_markdown(groups) + "\n", hint


TEXTS = {
    "one": ("as A-7 says", ["A-7"]),
    "several": ("A-1, A-2 and M-3", ["A-1", "A-2", "M-3"]),
    "range": ("S-1 to S-4, and C-4.", ["S-1", "S-2", "S-3", "S-4", "C-4"]),
    "twice": ("A-1 (A-1)", ["A-1"]),
    "other-words": ("SHA-256, UTF-8, PEP-1, a-1", []),
}


@pytest.mark.parametrize(("text", "clauses"), TEXTS.values(), ids=TEXTS)
def test_citations_are_read_from(text: str, clauses: list[str]) -> None:
    assert find_cited(text) == clauses


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one test of each kind; A-5 is held by none."""
    files = {
        "kernel-src/CONTRACT.md": "".join(f"- **A-{number}** Says something.\n" for number in range(1, 6)),
        "kernel-src/tests/shadow.rs": "// A-1 holds.\n#[test]\nfn blocks_are_apart() {}\n",
        "tests/unit/test_x.py": '"""A-2."""\n\n\ndef test_y() -> None:\n    """A-3."""\n',
        "tests/conformance/cases/x.json": json.dumps({"cases": [{"id": "x/y", "spec": ["A-4", "H-1"]}]}),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_clause_without_a_test_shows(checkout: Path) -> None:
    groups = group(read_clauses(checkout / "kernel-src" / "CONTRACT.md"), find_citations(checkout))
    shown = render(groups).splitlines()
    assert "A-5: NONE" in shown
    assert "  kernel-src/tests/shadow.rs::blocks_are_apart" in shown
    assert "  tests/unit/test_x.py" in shown
    assert "  tests/unit/test_x.py::test_y" in shown
    assert "  tests/conformance/cases/x.json::x/y" in shown
    assert "| A-5 | **nothing** |" in render_markdown(groups)
    assert "| A-4 | `cases/x.json` |" in render_markdown(groups)


FAULTS = {
    "no-clause": ("# A contract\n", "no line begins a clause"),
    "twice": ("- **A-1** x\n- **A-1** y\n", "`A-1` stands there twice"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_faulty_contract_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "CONTRACT.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=message):
        read_clauses(path)


def test_command_lists_tests_and_exits_well(capsys: Capture) -> None:
    assert cli.main(["clauses"]) == ExitCode.DONE
    assert "test_kernel_cuts.py::test_reset_restores_a_fresh_state_after_any_cut" in capsys.readouterr().out
    assert cli.main(["clauses", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out).keys() == set(read_clauses(CONTRACT))
