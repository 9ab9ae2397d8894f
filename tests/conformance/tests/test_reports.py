"""Reports: complete or refused, and the same facts in every form."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from .conftest import SUITE, toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

HOSTILE = 'a </script><script>alert(1)</script> & "quotes"'


@pytest.fixture
def report(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> Path:
    cases = write_cases(
        {
            "id": "toy/passes",
            "spec": ["A-1", "M-2"],
            "steps": [{"call": "alloc", "args": [8], "expect": 1024}],
        },
        {"id": "toy/fails", "title": HOSTILE, "steps": [{"call": "alloc", "args": [8], "expect": 8}]},
        {"id": "toy/skips", "spec": ["C-1"], "steps": [{"call": "reset", "fuel": 1}]},
        {"id": "toy/breaks", "spec": ["L-3"], "steps": [{"call": "length", "args": [13]}]},
    )
    path = tmp_path / "report.jsonl"
    cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter("garbage"), "--report", path)
    return path


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
    assert failure.get("message") == "expected 8, got 1024"
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
