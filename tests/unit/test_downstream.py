"""The comparison of SDKs, on adapters and reports that are made here: what is measured and judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from build_tools.base.errors import ToolFailedError, UsageError
from build_tools.downstream import go_tests, plugins, suite, workloads
from build_tools.downstream.sdks import SDKS, select

from .conftest import ROOT
from .downstream_values import OURS, THEIRS, judged

if TYPE_CHECKING:
    from pathlib import Path


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


GO_OUTPUTS: dict[str, tuple[str, dict[str, set[str]]]] = {
    "passed": ("=== RUN   TestA\n--- PASS: TestA (0.02s)\nPASS\n", {"passed": {"TestA"}}),
    "failed": ("x.go:1: no\n--- FAIL: TestA (0.02s)\nFAIL\n", {"failed": {"TestA"}}),
    "skipped": ("--- SKIP: TestA (0.00s)\nPASS\n", {}),
    "subtest": (
        "--- FAIL: TestA (0.02s)\n    --- PASS: TestA/x (0.01s)\n    --- FAIL: TestA/y (0.01s)\nFAIL\n",
        {"passed": {"TestA/x"}, "failed": {"TestA", "TestA/y"}},
    ),
    "crashed": ("=== RUN   TestA\npanic: runtime error\n", {"failed": {"TestA"}}),
    "too-long": (
        "--- PASS: TestA/x (0.01s)\npanic: test timed out after 1m0s\n",
        {"unfinished": {"TestA"}},
    ),
}


@pytest.mark.parametrize("name", GO_OUTPUTS)
def test_output_of_one_go_test_is_read(name: str) -> None:
    text, expected = GO_OUTPUTS[name]
    wanted = {key: frozenset(names) for key, names in expected.items()}
    assert go_tests.read_output("TestA", text) == go_tests.TestRun(**wanted)


def test_runs_of_go_tests_are_joined() -> None:
    one, other = (go_tests.read_output("TestA", GO_OUTPUTS[name][0]) for name in ("passed", "too-long"))
    found = go_tests.join([one, other])
    both = frozenset({"TestA"})
    assert found == go_tests.TestRun(passed=both, unfinished=both)


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
