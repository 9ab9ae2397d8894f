"""What the comparison of SDKs says: tables, sentences, the chart, and the programs that show a defect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from build_tools.base.errors import UsageError
from build_tools.downstream import go_tests, plugins, programs, workloads
from build_tools.downstream.chart import render_svg
from build_tools.downstream.languages import LANGUAGES
from build_tools.downstream.rows import Outcome, to_data
from build_tools.downstream.sdks import SDKS
from build_tools.downstream.suite import Judged
from build_tools.downstream.tables import HEADER, render_markdown, render_text, sentences, table_rows

from .conftest import ROOT
from .downstream_values import FACTS, GO, OURS, THEIRS, judged, outcome

if TYPE_CHECKING:
    from pathlib import Path


def test_table_has_two_rows_for_an_sdk_and_one_for_an_sdk_without_a_kernel() -> None:
    shipped = judged("sdk-js", "none", a="pass")
    script = Outcome(sdk=next(sdk for sdk in SDKS if sdk.name == "javascript"), shipped=shipped)
    missing = Outcome(sdk=GO, skipped="`go` is not on PATH; install it with `x`")
    rows = table_rows([outcome(), script, missing])
    assert [row[:6] for row in rows[:3]] == [
        ("go", "as shipped", "bbbbbbbb", "2", "2", "1"),
        ("go", "this kernel", "aaaaaaaa", "3", "1", "1"),
        ("javascript", "as shipped", "none", "1", "0", "0"),
    ]
    assert rows[3][:2] == ("go", "`go` is not on PATH; install it with `x`")
    assert {len(row) for row in rows} == {len(HEADER)}


def test_sentences_count_what_disappears_and_name_what_is_worse() -> None:
    good = outcome()
    assert (good.disappeared, good.remaining, good.worse) == ({"x/b"}, {"x/c"}, set())
    assert "go: 1 of 2 failures disappear with this kernel inside, 1 remain." in sentences([good])
    bad = outcome(given=judged("sdk-go-given", OURS, a="fail"))
    assert "go: worse: x/a, x/e" in "\n".join(sentences([bad]))


def test_own_tests_and_plugins_count_as_worse() -> None:
    run = go_tests.TestRun(passed=frozenset({"A"}), failed=frozenset())
    broken = plugins.Compared(name="p", calls=0, difference="x")
    worse = outcome(
        tests=(run, go_tests.TestRun(passed=frozenset(), failed=frozenset({"A"}))), plugins=[broken]
    ).worse
    assert worse == {"own test A", "plug-in p"}


def test_own_tests_that_do_not_end_are_named_and_not_worse() -> None:
    shipped = go_tests.TestRun(passed=frozenset({"A"}), failed=frozenset({"Net"}))
    given = go_tests.TestRun(failed=frozenset({"Net"}), unfinished=frozenset({"A"}))
    each = outcome(shipped=None, given=None, tests=(shipped, given))
    assert each.worse == set()
    assert [row[6:8] for row in table_rows([each])] == [("1", "1"), ("0", "1")]
    text = "\n".join(sentences([each]))
    assert "fail with either kernel: Net." in text
    assert "do not end within 60 s with this kernel: A." in text
    assert to_data(FACTS, [each])["sdks"][0]["own_tests"][1]["unfinished"] == ["A"]


RATIO = workloads.Ratio(
    workload="echo of 4 KiB", median=0.5, low=0.04, high=2.0, rounds=9, shipped_us=2, given_us=1
)


CAUSE = programs.Cause(why="w|y", cases=("x/c",), shown="x/c", got="g\x00", plays=())


def test_markdown_has_the_facts_both_tables_and_what_remains() -> None:
    text = render_markdown(FACTS, [outcome(ratios=[RATIO])], {"go": [CAUSE]})
    for part in (
        "2030-01-02",
        OURS,
        "| go | this kernel |",
        "0.50 (0.040 to 2.00)",
        "| w\\|y | 1 | `go/x-c` | g  |",
    ):
        assert part in text


def test_text_and_json_say_the_same() -> None:
    each = outcome(ratios=[RATIO], plugins=[plugins.Compared(name="p", calls=0, skipped="s")])
    text, data = render_text(FACTS, [each]), to_data(FACTS, [each])
    assert "go: plug-in p: skipped: s" in text
    (found,) = data["sdks"]
    assert (found["disappeared"], found["remaining"], found["worse"]) == (["x/b"], ["x/c"], [])
    assert found["with_kernel"]["sha256"] == OURS
    assert found["workloads"][0]["median"] == 0.5
    assert json.dumps(data)


def test_chart_is_xml_that_follows_the_colours_of_the_page() -> None:
    text = render_svg(FACTS, [outcome(ratios=[RATIO, workloads.Unmeasured(workload="x", reason="<")])])
    root = ET.fromstring(text)  # noqa: S314 - it was made a line above
    assert len(root.findall("{*}rect")) == 2
    assert len(root.findall("{*}circle")) == 1
    assert "prefers-color-scheme: dark" in text


CASES: dict[str, Any] = {
    "x/c": {
        "steps": [
            {"load": "kit", "manifest": {"config": {"k": "v"}, "memory": {"max_pages": 20}}},
            {"repeat": 2, "steps": [{"invoke": "echo", "fill": "61", "len": 300, "expect": "b"}]},
            {"invoke": "http", "input": {"url": "{server}/hello"}, "expect_error": ["no", "not"]},
            {"logs": [["info", "x"]]},
        ]
    },
    "x/d": {"steps": [{"load": "kit"}, {"invoke": "echo"}]},
}


def test_causes_group_what_remains_and_show_the_shortest_case() -> None:
    both = {"c": "fail", "d": "fail"}
    each = outcome(shipped=judged("sdk-go", THEIRS, **both), given=judged("sdk-go-given", OURS, **both))
    (cause,) = programs.find_causes(each, CASES)
    assert (cause.cases, cause.shown, cause.why) == (("x/c", "x/d"), "x/d", "w|y")


@pytest.mark.parametrize("name", LANGUAGES)
def test_program_has_each_step_with_what_should_come(name: str) -> None:
    plays, note = programs._plays("x/c", CASES)
    cause = programs.Cause(why="w", cases=("x/c",), shown="x/c", got="g", plays=plays, note=note)
    text = programs.make_program(cause, LANGUAGES[name])
    for part in (
        "kit.wasm",
        "300",
        "should be 'b'",
        "an error with ['no', 'not']",
        programs.SERVER,
        "came: g",
    ):
        assert part in text
    assert programs.find_modules(cause) == {"kit"}
    if name == "rust":
        compile(text, "main.py", "exec")


@pytest.mark.parametrize("name", LANGUAGES)
def test_program_says_what_its_calls_cannot(name: str) -> None:
    steps = [
        {"load": "files", "manifest": {"allowed_paths": {"{folder}/allowed": "/data"}}, "may_reject": True},
        {"together": [{"invoke": "read", "input": "{port}", "times": 3}]},
        {"invoke": "read", "cancel_after_ms": 50, "expect_error": ""},
    ]
    plays, note = programs._plays("x/c", {"x/c": {"steps": steps}})
    cause = programs.Cause(why="w", cases=("x/c",), shown="x/c", got="g", plays=plays, note=note)
    text = programs.make_program(cause, LANGUAGES[name])
    for part in (
        "folder/allowed",
        "/data",
        "`folder` of SDK.md",
        "may be refused",
        "3 times",
        "after 50 ms",
        "8000",
    ):
        assert part in text


def test_programs_are_written_with_their_plugins_and_never_over_something(tmp_path: Path) -> None:
    lines = {
        "sdk-io/1-mib-comes-back": {"verdict": "fail"},
        "probe/alloc/zero-is-none": {"verdict": "fail", "why": "z"},
    }
    each = Judged(configuration="x", runtime="toy", sha256=OURS, lines=lines)
    folder = tmp_path / "programs"
    programs.write_programs(ROOT, [outcome(shipped=each, given=each)], folder)
    probe = folder / "go" / "probe-alloc-zero-is-none"
    assert (probe / "probe.wasm").read_bytes().startswith(b"\0asm")
    assert "probe.wasm" in (probe / "main.go").read_text(encoding="utf-8")
    assert (folder / "go" / "sdk-io-1-mib-comes-back" / "kit.wasm").is_file()
    with pytest.raises(UsageError, match="something here already"):
        programs.write_programs(ROOT, [], folder)
