"""Known failures: data with a reason, never older than the truth."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .conftest import toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

ENTRY = {
    "case": "toy/fails",
    "configuration": "mine",
    "got": "1024",
    "why": "the toy starts there",
    "link": "https://example.com/1",
}


@dataclass(frozen=True)
class Judge:
    """Runs the toy cases with a list of known failures; None leaves the list as it is."""

    run: Callable[..., Ran]
    path: Path

    def __call__(self, entries: list[dict[str, str]] | None, *options: str) -> Ran:
        return self.run(entries, *options)


@pytest.fixture
def judge(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> Judge:
    """Run three toy cases on a configuration `mine` with a list of known failures beside it."""
    folder = tmp_path / "adapters" / "mine"
    folder.mkdir(parents=True)
    described = {"name": "mine", "runtime": "toy", "command": shlex.split(toy_adapter())}
    (folder / "adapter.json").write_text(json.dumps(described), encoding="utf-8")
    cases = write_cases(
        {"id": "toy/fails", "steps": [{"call": "alloc", "args": [8], "expect": 8}]},
        {"id": "toy/passes", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]},
        {"id": "toy/skips", "steps": [{"call": "reset", "fuel": 1}]},
    )

    def run(entries: list[dict[str, str]] | None, *options: str) -> Ran:
        path = folder / "known-failures.json"
        if entries is not None:
            path.write_text(json.dumps(entries), encoding="utf-8")
        adapters = ["--adapter", "mine", "--adapters", folder.parent]
        return cli("run", toy_kernel, "--cases", cases, *adapters, *options)

    return Judge(run, folder / "known-failures.json")


def test_listed_failure_is_xfail_and_green(judge: Judge) -> None:
    ran = judge([ENTRY])
    assert ran.code == 0, ran.out + ran.err
    assert "1 pass, 1 skip, 1 xfail" in ran.out


def test_star_stands_for_any_text(judge: Judge) -> None:
    assert judge([{**ENTRY, "got": "1*4"}]).code == 0


def test_unlisted_failure_is_red(judge: Judge) -> None:
    assert judge([]).code == 1


def test_listed_case_that_passes_is_red(judge: Judge) -> None:
    ran = judge([ENTRY, {**ENTRY, "case": "toy/passes"}])
    assert ran.code == 1
    assert "xpass toy/passes" in ran.out
    assert "remove the entry" in ran.out


def test_listed_case_that_fails_differently_is_red(judge: Judge) -> None:
    ran = judge([{**ENTRY, "got": "trap unreachable"}])
    assert ran.code == 1
    assert "listed as known to fail with `trap unreachable`, but it fails differently" in ran.out


@pytest.mark.parametrize(
    "change",
    [{"configuration": "other"}, {"versions": "<1.2.3"}, {"kernel": "0" * 64}],
    ids=["configuration", "version", "kernel"],
)
def test_entry_for_something_else_does_not_count(judge: Judge, change: dict[str, str]) -> None:
    assert judge([{**ENTRY, **change}]).code == 1


def test_entry_for_just_this_does_count(judge: Judge, toy_kernel: Path) -> None:
    digest = hashlib.sha256(toy_kernel.read_bytes()).hexdigest()
    assert judge([{**ENTRY, "configuration": "*", "versions": ">=1.2,<2", "kernel": digest}]).code == 0


def test_entry_for_no_case_is_red(judge: Judge) -> None:
    ran = judge([ENTRY, {**ENTRY, "case": "toy/gone"}])
    assert ran.code == 1
    assert "error[known-failure-stale]: there is no case `toy/gone`" in ran.err


def test_entry_for_no_case_is_red_in_a_part_of_the_cases_too(judge: Judge) -> None:
    ran = judge([{**ENTRY, "case": "toy/gone"}], "--suite-level", "1.0", "-k", "passes")
    assert ran.code == 1
    assert "there is no case `toy/gone`" in ran.err


def test_entry_for_a_case_of_the_suite_is_none_of_the_cases_of_another_folder(judge: Judge) -> None:
    assert judge([ENTRY, {**ENTRY, "case": "error/zero-clears"}]).code == 0


@pytest.mark.parametrize(
    ("key", "text"), [("why", ""), ("link", ""), ("got", ""), ("why", " "), ("link", "\t")]
)
def test_entry_without_reason_is_refused(judge: Judge, key: str, text: str) -> None:
    ran = judge([{**ENTRY, key: text}])
    assert ran.code == 5
    assert "error[known-failures-malformed]" in ran.err
    assert f"[0].{key}" in ran.err


def test_lint_check_can_be_listed(judge: Judge) -> None:
    ran = judge([ENTRY, {**ENTRY, "case": "lint/i32-sign"}])
    assert ran.code == 1
    assert "xpass lint/i32-sign" in ran.out


def test_fix_drops_what_passes_and_updates_what_came(judge: Judge) -> None:
    judge(
        [{**ENTRY, "got": "12"}, {**ENTRY, "case": "toy/passes"}, {**ENTRY, "configuration": "other"}],
        "--fix",
    )
    assert json.loads(judge.path.read_text(encoding="utf-8")) == [ENTRY, {**ENTRY, "configuration": "other"}]
    assert judge(None).code == 0


def test_fix_adds_new_failures_without_a_reason_which_the_next_run_refuses(judge: Judge) -> None:
    ran = judge([], "--fix")
    assert "toy/fails: added for mine; fill in `why` and `link`" in ran.err
    (entry,) = json.loads(judge.path.read_text(encoding="utf-8"))
    assert (entry["got"], entry["why"]) == ("1024", "")
    assert judge(None).code == 5


@pytest.mark.parametrize(
    "change",
    [{"configuration": "*"}, {"case": "toy/passes", "versions": "<1.2.3"}, {"kernel": "0" * 64}],
    ids=["every-configuration", "another-version", "another-kernel"],
)
def test_fix_leaves_what_is_not_of_this_run_alone(judge: Judge, change: dict[str, str]) -> None:
    entries = [{**ENTRY, **change}] + ([] if change.get("configuration") else [ENTRY])
    judge(entries, "--fix")
    kept = json.loads(judge.path.read_text(encoding="utf-8"))
    assert sorted(kept, key=str) == sorted(entries, key=str)


@pytest.mark.parametrize(
    "option", [["-k", "fails"], ["--skip-slow"], ["--suite-level", "1.0"], ["--no-lint"]]
)
def test_fix_refuses_an_incomplete_run(judge: Judge, option: list[str]) -> None:
    ran = judge([ENTRY], "--fix", *option)
    assert ran.code == 2
    assert "`--fix` needs a complete run" in ran.err
    assert json.loads(judge.path.read_text(encoding="utf-8")) == [ENTRY]
