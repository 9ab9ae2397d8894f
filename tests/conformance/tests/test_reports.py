"""Reports: complete or refused, and the same facts in every form."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from .conftest import SUITE, run_main, toy_adapter, write_toy_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Ran

HOSTILE = 'a </script><script>alert(1)</script> & "quotes"'


@pytest.fixture(scope="session")
def finished_report(toy_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one run, which no test changes."""
    folder = tmp_path_factory.mktemp("report")
    cases = write_toy_cases(
        folder / "cases",
        {
            "id": "toy/passes",
            "spec": ["A-1", "M-2"],
            "steps": [{"call": "alloc", "args": [8], "expect": 1024}],
        },
        {"id": "toy/fails", "title": HOSTILE, "steps": [{"call": "alloc", "args": [8], "expect": 8}]},
        {"id": "toy/skips", "spec": ["C-1"], "steps": [{"call": "reset", "fuel": 1}]},
        {"id": "toy/breaks", "spec": ["L-3"], "steps": [{"call": "length", "args": [13]}]},
    )
    path = folder / "report.jsonl"
    run_main("run", toy_kernel, "--cases", cases, "--command", toy_adapter("garbage"), "--report", path)
    return path


@pytest.fixture
def report(finished_report: Path, tmp_path: Path) -> Path:
    """A copy of the report that the test may change."""
    return Path(shutil.copy(finished_report, tmp_path))


def test_report_meets_its_schema(report: Path) -> None:
    schema = json.loads((SUITE / "schema" / "report.schema.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        jsonschema.validate(line, schema)
    assert lines[0]["type"] == "header"
    assert lines[-1]["verdicts"] == {"pass": 1, "fail": 1, "skip": 1, "error": 1}
    assert not lines[-1]["green"]


@pytest.mark.parametrize("cut", [1, 5], ids=["footer", "cases"])
def test_report_without_footer_is_refused(report: Path, cut: int, cli: Callable[..., Ran]) -> None:
    lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    report.write_text("".join(lines[:-cut]), encoding="utf-8")
    ran = cli("report", report)
    assert ran.code == 5
    assert "the report has no footer" in ran.err


def test_report_with_a_lost_case_is_refused(report: Path, cli: Callable[..., Ran]) -> None:
    lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    report.write_text("".join(lines[:-2] + lines[-1:]), encoding="utf-8")
    assert "the footer speaks of 4 cases" in cli("report", report).err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"green": false', '"green": true', "as `green`, the lines above come to False"),
        ('"verdict": "fail"', '"verdict": "pass"', "as `verdicts`, the lines above come to"),
        ('"id": "toy/fails"', '"id": "toy/passes"', "has `toy/passes` more than once"),
    ],
    ids=["footer", "verdict", "twice"],
)
def test_report_that_was_edited_is_refused(
    report: Path, old: str, new: str, words: str, cli: Callable[..., Ran]
) -> None:
    text = report.read_text(encoding="utf-8")
    assert old in text
    report.write_text(text.replace(old, new), encoding="utf-8")
    ran = cli("report", report)
    assert ran.code == 5
    assert words in ran.err


def test_report_that_is_none_is_refused(report: Path, cli: Callable[..., Ran]) -> None:
    report.write_text('{"type": "header"}\n', encoding="utf-8")
    assert cli("report", report).code == 5
    report.write_text("", encoding="utf-8")
    assert "the report has no footer" in cli("report", report).err
    report.write_text("verdicts\n", encoding="utf-8")
    assert "this line is no JSON" in cli("report", report).err


def test_reports_can_be_joined(report: Path, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    merged = tmp_path / "merged.jsonl"
    assert cli("report", report, report, "--merge", merged).code == 0
    assert merged.read_text(encoding="utf-8") == report.read_text(encoding="utf-8") * 2
    assert cli("report", merged).out.count("RED") == 2


def test_junit_counts_what_the_footer_counts(report: Path, tmp_path: Path, cli: Callable[..., Ran]) -> None:
    out = tmp_path / "junit.xml"
    cli("report", report, "--junit", out)
    suite = ET.parse(out).getroot()[0]  # noqa: S314 - we wrote it ourselves
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": str(28 + 4), "failures": "1", "errors": "1", "skipped": "1"}
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "alloc(8) at steps[0]: expected 8, got 1024"
    assert "replay CASE" not in (failure.text or "")


def test_markdown_has_a_row_for_each_clause(report: Path, cli: Callable[..., Ran]) -> None:
    text = cli("report", report, "--markdown", "-").out
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert {"A-1", "M-2", "C-1", "L-3", "all"} <= rows.keys()
    assert "❌ 1/2" in rows["A-1"]
    assert "skip" in rows["C-1"]


class Page(HTMLParser):
    """Collects what the tests ask of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == ("script", {"type": "application/json", "id": "data"}):
            self.data += data


def test_html_page_stands_alone_and_opens_every_failure(
    report: Path, tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    out = tmp_path / "page.html"
    cli("report", report, "--html", out)
    text = out.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert [attrs for _, attrs in page.tags if attrs.get("src") or (attrs.get("href") or "#")[0] != "#"] == []
    buttons = {
        attrs["data-row"]: attrs for tag, attrs in page.tags if tag == "button" and "data-row" in attrs
    }
    assert buttons["A-1"]["data-state"] == "red"
    assert buttons["A-1"]["aria-label"] == "A-1 on faulty_adapter garbage: 1 fail, 1 pass".replace(
        "faulty_adapter garbage", str(buttons["A-1"]["data-configuration"])
    )
    assert {"A-1", "M-2", "C-1", "L-3", "all", "toy/fails", "toy/breaks", "lint"} <= buttons.keys()
    data = json.loads(page.data)
    lines = {line["id"]: line for line in data["sections"][0]["lines"]}
    assert (lines["toy/fails"]["expected"], lines["toy/fails"]["got"]) == ("8", "1024")
    assert lines["toy/fails"]["title"] == HOSTILE
    assert "<script>alert" not in text
    assert "replay CASE" in data["sections"][0]["replay"]
    assert "prefers-color-scheme: dark" in text


def test_text_of_a_hostile_title_is_escaped_in_the_table(
    report: Path, tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    out = tmp_path / "page.html"
    cli("report", report, "--html", out)
    assert "a &lt;/script&gt;&lt;script&gt;" in out.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def alike(toy_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A report with thirty equal faults of an adapter, and two of the kernel that differ."""
    folder = tmp_path_factory.mktemp("alike")
    adapter = [{"call": "length", "args": [13], "expect": 0}]
    broken: list[dict[str, object]] = [
        {"id": f"toy/broken-{number}", "steps": adapter} for number in range(30)
    ]
    cases = write_toy_cases(
        folder / "cases",
        *broken,
        {
            "id": "toy/fails",
            "why": "somebody is hurt",
            "spec": ["A-1"],
            "steps": [
                {"call": "alloc", "args": [8], "bind": "a"},
                {"call": "length", "args": ["$a+1"], "expect": 5},
            ],
        },
        {"id": "toy/fails-too", "steps": [{"call": "alloc", "args": [16], "expect": 8}]},
    )
    path = folder / "alike.jsonl"
    command = toy_adapter("error-answer")
    return path, run_main("run", toy_kernel, "--cases", cases, "--command", command, "--report", path)


def test_failure_says_call_promise_and_replay_in_every_form(
    alike: tuple[Path, Ran], tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    path, ran = alike
    html, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    markdown = cli("report", path, "--markdown", "-", "--html", html, "--junit", junit).out
    page = html.read_text(encoding="utf-8")
    (text,) = [
        case[0].text or ""
        for case in ET.parse(junit).getroot().iter("testcase")  # noqa: S314 - we wrote it ourselves
        if case.get("name") == "fails"
    ]
    for form in (ran.out, markdown, page, text):
        assert "length(1025) at steps[1]: expected 5, got 0" in form
        assert "a promise (A-1: " in form
        assert "somebody is hurt" in form
        assert "replay toy/fails " in form


def test_equal_faults_stand_together_with_their_count(
    alike: tuple[Path, Ran], tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    path, ran = alike
    assert ran.out.count("KeyError") == 1
    assert "29 more: toy/broken-1, toy/broken-10" in ran.out
    assert "and 24 others" in ran.out
    html, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    cli("report", path, "--html", html, "--junit", junit)
    assert "30 alike" in html.read_text(encoding="utf-8")
    assert junit.read_text(encoding="utf-8").count("one of 30 that failed alike") == 30


def test_page_begins_with_counts_date_digests_and_failures(
    alike: tuple[Path, Ran], tmp_path: Path, cli: Callable[..., Ran]
) -> None:
    html = tmp_path / "page.html"
    cli("report", alike[0], "--html", html)
    text = html.read_text(encoding="utf-8")
    header = json.loads(alike[0].read_text(encoding="utf-8").splitlines()[0])
    for words in ("0 of 1 that ran are green; 0 did not run", "2 fail, 30 error", header["kernel"]["sha256"]):
        assert words in text
    assert header["started"] in text
    assert "partial run" not in text
    places = [text.index(f'id="{name}"') for name in ("failures", "configurations", "clauses", "cases")]
    assert places == sorted(places)
    assert "blank: the run has no case" in text


def test_equal_faults_of_several_configurations_stand_together(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    wrong = {"id": "toy/a", "steps": [{"call": "alloc", "args": [8], "expect": 1}]}
    allowed = {"id": "toy/b", "level": "may", "steps": [{"call": "alloc", "args": [8], "expect": 1}]}
    cases = write_cases(wrong, allowed)
    first, second, html = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "page.html"))
    for path in (first, second):
        cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "--no-lint", "--report", path)
    text = second.read_text(encoding="utf-8").replace('"configuration": "', '"configuration": "other-')
    assert text != second.read_text(encoding="utf-8")
    second.write_text(text, encoding="utf-8")
    ran = cli("report", first, second, "--html", html, "--markdown", "-")
    assert ran.out.count("fail `toy/a`") == 1
    assert "also on: other-" in ran.out
    page = html.read_text(encoding="utf-8")
    assert "Failures (2)" in page
    assert page.count("<dt>also on</dt>") == 1
    assert "2 more of level <code>may</code> are not red" in page
    assert '<span class="word">--adapter</span>' in page or '<span class="word">--command</span>' in page


def test_partial_run_is_marked(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    cases = write_cases({"id": "toy/a", "steps": [{"call": "reset"}]})
    path, html = tmp_path / "report.jsonl", tmp_path / "page.html"
    argv = ["--cases", cases, "--command", toy_adapter(), "-k", "toy", "--skip-slow", "--report", path]
    assert "not all cases" in cli("run", toy_kernel, *argv).out
    assert "partial run: only what -k toy --skip-slow leaves" in cli("report", path, "--markdown", "-").out
    cli("report", path, "--html", html)
    assert "partial run: only what -k toy --skip-slow leaves" in html.read_text(encoding="utf-8")


def test_changes_since_an_older_report_are_told(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    def run(name: str, **expected: int) -> Path:
        cases = write_cases(
            *(
                {"id": f"toy/{case}", "steps": [{"call": "alloc", "args": [8], "expect": value}]}
                for case, value in expected.items()
            )
        )
        path = tmp_path / name
        cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "--no-lint", "--report", path)
        return path

    old = run("old.jsonl", same=1024, breaks=1024, heals=1, gone=1024)
    new = run("new.jsonl", same=1024, breaks=1, heals=1024, new=1024)
    told = cli("report", new, "--since", old).out
    assert "newly red: toy/breaks on" in told
    assert "no longer red: toy/heals on" in told
    assert "not in the older report: toy/new on" in told
    assert "only in the older report: toy/gone on" in told
    assert "toy/same" not in told
    html = tmp_path / "page.html"
    text = cli("report", new, "--since", old, "--html", html, "--markdown", "-").out
    assert "- newly red: 1 (`toy/breaks` on" in text
    assert "1 no longer red" in html.read_text(encoding="utf-8")
    assert "nothing changed" in cli("report", new, "--since", new, "--markdown", "-").out
