"""The sdk profile: its plug-ins, its steps, its lint, and what our own host comes to."""

from __future__ import annotations

import importlib.util
import json
import shlex
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime
from extism_kernel_conformance.cases.load import read_cases
from extism_kernel_conformance.cli.main import main
from extism_kernel_conformance.play.sdk_folder import make_folder
from extism_kernel_conformance.play.sdk_server import run_server

from .conftest import SUITE

if TYPE_CHECKING:
    from pathlib import Path

PLUGINS = sorted((SUITE / "plugins").glob("*.wat"))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugin_is_assembled_from_its_text(path: Path) -> None:
    assembled = bytes(wasmtime.wat2wasm(path.read_text(encoding="utf-8"))).hex()
    assert path.with_suffix(".hex").read_text(encoding="ascii").strip() == assembled


def case(*steps: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "toy/x", "since": "1.0.0", "profile": "sdk", "spec": ["H-1"], "level": "must", "title": "x"}
    return {**head, "steps": [*steps]}


LOAD = {"load": "kit"}

FAULTS = {
    "unknown-plugin": (case({"load": "kitt"}), "there is no plug-in 'kitt'"),
    "wasm-in-manifest": (case({"load": "kit", "manifest": {"wasm": []}}), "not by `wasm`"),
    "unknown-level": (case({"load": "kit", "log_level": "loud"}), "'loud' is no level"),
    "not-loaded": (
        case({"invoke": "echo"}, {"invoke": "echo", "plugin": "b"}),
        "no earlier step makes instance `b`",
    ),
    "two-expectations": (case(LOAD, {"invoke": "echo", "expect": "", "expect_error": ""}), "one expectation"),
    "fill-without-length": (case(LOAD, {"invoke": "echo", "fill": "61"}), "`fill` needs a length"),
    "odd-hex": (case(LOAD, {"invoke": "echo", "hex": "6"}), "hex digits"),
    "logs-of-numbers": (case(LOAD, {"logs": [1]}), "expected a list like"),
    "requests-of-text": (case(LOAD, {"requests": "1"}), "expected a number"),
    "long-input": (case(LOAD, {"invoke": "echo", "fill": "61", "len": 2_000_001}), "at most 2,000,000 bytes"),
    "may-reject-of-text": (case({"load": "kit", "may_reject": "yes"}), "expected true or false"),
    "may-fail-of-text": (case(LOAD, {"invoke": "echo", "may_fail": "yes"}), "expected true or false"),
    "may-fail-beside-error": (
        case(LOAD, {"invoke": "echo", "may_fail": True, "expect_error": ""}),
        "a call that must fail has no `may_fail`",
    ),
    "together-alone": (case(LOAD, {"together": [{"invoke": "echo"}]}), "two calls or more"),
    "together-twice-on-one": (
        case(LOAD, {"together": [{"invoke": "echo"}, {"invoke": "fail", "expect_error": ""}]}),
        "each of another plug-in",
    ),
    "together-with-a-load": (case(LOAD, {"together": [LOAD, LOAD]}), "expected an `invoke`"),
    "together-never": (case(LOAD, {"together": [{"invoke": "echo", "times": 0}]}), "how often it is called"),
    "together-with-cancel": (
        case(LOAD, {"together": [{"invoke": "echo", "cancel_after_ms": 1}]}),
        "`cancel_after_ms` has no meaning here",
    ),
    "kernel-step": (case(LOAD, {"call": "alloc", "args": [1]}), "exactly one of the keys"),
    "unknown-profile": ({**case(LOAD), "profile": "sdks"}, "'sdks' is no profile"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_step_fault_is_named(tmp_path: Path, fault: str) -> None:
    value, message = FAULTS[fault]
    (tmp_path / "toy.json").write_text(json.dumps({"cases": [value]}), encoding="utf-8")
    _, findings = read_cases(tmp_path)
    assert any(message in finding.message for finding in findings), findings


ADAPTER = """
import json, sys
FAULT = {fault!r}
kit, counts = {{}}, {{}}
def answer(r):
    if r["op"] == "hello":
        about = {{"protocol": 1, "adapter": "toy", "runtime": "toy", "version": "1"}}
        return {{**about, "capabilities": ["together"] if FAULT.startswith("together") else []}}
    if r["op"] == "together" and FAULT.startswith("together"):
        if FAULT == "together-unsupported" and r["calls"][0]["plugin"] != "lint":
            return {{"result": "unsupported"}}
        answers = []
        for each in r["calls"]:
            outcome = answer({{**each, "op": "invoke"}})
            outcome.pop("logs", None)
            if FAULT == "together-mixed" and each["plugin"] != "lint":
                outcome = {{"output": "78"}}
            is_lost = FAULT == "together-lost" and each["plugin"] == "b"
            answers.append([{{"result": "ok", **outcome, "times": each["times"] - is_lost}}])
        return {{"answers": answers}}
    if r["op"] == "load":
        if FAULT == "refuses-start" and r["plugin"] == "s":
            return {{"result": "reject", "message": "took too long"}}
        if r["modules"][0]["bytes"].endswith("ff") and FAULT != "accepts-garbage":
            return {{"result": "reject", "message": "no module"}}
        counts[r["plugin"]] = 0
        return {{}}
    if r["op"] == "unload":
        return {{}}
    if r["op"] != "invoke":
        return {{"result": "ok" if FAULT == "knows-everything" else "unsupported"}}
    if r["function"] == "trap":
        return {{"result": "error" if FAULT == "trap-is-error" else "fail", "message": "trapped", "logs": []}}
    if r["function"] == "count":
        key = "a" if FAULT == "one-instance" else r["plugin"]
        counts[key] = counts.get(key, 0) + 1
        return {{"output": bytes([counts[key], 0, 0, 0]).hex(), "logs": []}}
    text = bytes.fromhex(r["input"])
    if FAULT == "takes-bytes-for-text":
        text = text.decode("utf-8", "replace").encode()
    if FAULT == "no-logs":
        return {{"output": text.hex()}}
    return {{"output": text.hex(), "logs": []}}
for line in sys.stdin:
    r = json.loads(line)
    result = {{"id": r["id"], "result": "ok", **answer(r)}}
    if result["result"] == "error":
        result.pop("logs", None)
    print(json.dumps(result), flush=True)
"""

BROKEN = {
    "none": None,
    "accepts-garbage": "lint/reject-is-no-fault",
    "knows-everything": "adapter-answer",
    "trap-is-error": "adapter-error",
    "one-instance": "lint/plugins-apart",
    "takes-bytes-for-text": "lint/bytes-travel-whole",
    "no-logs": "adapter-answer",
    "together": None,
    "together-mixed": "lint/calls-together",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_adapter_is_named(
    tmp_path: Path, toy_kernel: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.format(fault=fault), encoding="utf-8")
    (tmp_path / "cases").mkdir()
    toy = case(LOAD, {"invoke": "echo", "input": "x", "expect": "x"})
    (tmp_path / "cases" / "toy.json").write_text(json.dumps({"cases": [toy]}), encoding="utf-8")
    command = shlex.join([sys.executable, str(adapter)])
    code = main(
        ["run", str(toy_kernel), "--profile", "sdk", "--cases", str(tmp_path / "cases"), "--command", command]
    )
    out = capsys.readouterr().out
    expected = BROKEN[fault]
    assert code == (1 if expected else 0), out
    if expected:
        assert expected in out


@pytest.mark.parametrize("fault", ["none", "one-instance"])
def test_lint_makes_the_checks_of_the_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.format(fault=fault), encoding="utf-8")
    code = main(["lint", "--profile", "sdk", "--command", shlex.join([sys.executable, str(adapter)])])
    captured = capsys.readouterr()
    assert code == (fault != "none"), captured.out
    assert len(captured.out.splitlines()) == 6
    assert ("fail  lint/plugins-apart" in captured.out) == (fault != "none")
    assert "6 checks for each adapter" in captured.err


VERDICTS: dict[str, tuple[dict[str, Any], str]] = {
    "wrong-output": ({"invoke": "echo", "input": "x", "expect": "y"}, "expected output 'y', got output 'x'"),
    "no-error": ({"invoke": "echo", "expect_error": ""}, "expected an error"),
    "error": ({"invoke": "trap"}, "expected `trap` succeeds, got error: trapped"),
    "other-error": ({"invoke": "trap", "expect_error": "oom"}, "expected an error with `oom`"),
    "no-json": ({"invoke": "echo", "input": "x", "expect_json": {"a": 1}}, "got output 'x'"),
    "requests": ({"requests": 1}, "expected 1 requests, got 0"),
}


@pytest.mark.parametrize("fault", VERDICTS)
def test_broken_promise_is_a_failure(
    tmp_path: Path, toy_kernel: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    step, message = VERDICTS[fault]
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.format(fault="none"), encoding="utf-8")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "toy.json").write_text(json.dumps({"cases": [case(LOAD, step)]}), encoding="utf-8")
    command = shlex.join([sys.executable, str(adapter)])
    args = ["--profile", "sdk", "--cases", str(tmp_path / "cases"), "--command", command, "--no-lint"]
    assert main(["run", str(toy_kernel), *args]) == 1
    assert message in capsys.readouterr().out


def play(tmp_path: Path, toy_kernel: Path, fault: str, *steps: dict[str, Any]) -> int:
    """Run one case on the toy adapter and return the exit code."""
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.format(fault=fault), encoding="utf-8")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "toy.json").write_text(json.dumps({"cases": [case(*steps)]}), encoding="utf-8")
    command = shlex.join([sys.executable, str(adapter)])
    args = ["--profile", "sdk", "--cases", str(tmp_path / "cases"), "--command", command]
    return main(["run", str(toy_kernel), *args, "--no-lint"])


B = {"load": "kit", "plugin": "b"}
WELL = {"invoke": "echo", "input": "x", "expect": "x", "times": 2}
TOGETHER: dict[str, tuple[str, dict[str, Any], str]] = {
    "right": ("together", {"invoke": "trap", "plugin": "b", "expect_error": "trapped"}, "1 pass"),
    "wrong": ("together", {"invoke": "echo", "plugin": "b", "input": "y", "expect": "x"}, "got output 'y'"),
    "lost": ("together-lost", {"invoke": "echo", "plugin": "b", "times": 3}, "adapter-answer"),
    "unsupported": ("together-unsupported", {"invoke": "echo", "plugin": "b"}, "adapter-unsupported"),
    "undeclared": ("none", {"invoke": "echo", "plugin": "b"}, "1 skip"),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_calls_at_the_same_time_are_each_judged(
    tmp_path: Path, toy_kernel: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    fault, other, message = TOGETHER[name]
    code = play(tmp_path, toy_kernel, fault, LOAD, B, {"together": [WELL, other]})
    assert code == (name != "right")  # a run in which no case ran is red
    assert message in capsys.readouterr().out


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "any-error": ({"expect_error": ""}, "1 pass"),
    "its-message": ({"expect_error": "too long"}, "1 pass"),
    "another-message": ({"expect_error": "oom"}, "got error: took too long"),
    "success": ({"expect": ""}, "got error: took too long"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_plugin_that_may_be_refused_counts_as_one_that_fails(
    tmp_path: Path, toy_kernel: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    keys, message = REFUSED[name]
    load = {"load": "kit", "plugin": "s", "may_reject": True}
    code = play(tmp_path, toy_kernel, "refuses-start", load, {"invoke": "echo", "plugin": "s", **keys})
    assert code == (0 if message == "1 pass" else 1)
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(("function", "code"), [("trap", 0), ("echo", 1)])
def test_call_that_may_fail_is_held_to_its_output_only(
    tmp_path: Path, toy_kernel: Path, function: str, code: int
) -> None:
    step = {"invoke": function, "input": "y", "expect": "x", "may_fail": True}
    assert play(tmp_path, toy_kernel, "none", LOAD, step) == code


def test_folder_holds_what_the_page_says(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert (folder / "allowed" / "hello.txt").read_text(encoding="utf-8") == "hello"
    assert (folder / "allowed" / "link").resolve() == folder / "secret.txt"


def test_server_sends_early_responses_before_the_answer() -> None:
    with run_server() as server, socket.create_connection(("127.0.0.1", server.server_address[1])) as peer:
        peer.sendall(b"GET /early?103 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: peer.recv(65536), b""))
    assert text.count(b"HTTP/1.1 103 Early\r\n") == 2
    assert text.endswith(b"\r\n\r\nlate")


@pytest.mark.slow
def test_our_host_keeps_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole profile on the reference host, where both lie beside the suite."""
    kernel = SUITE.parents[1] / "extism_kernel_pkg" / "extism-runtime.wasm"
    if not kernel.is_file():
        pytest.skip("no kernel is staged; `python -m build_tools kernel` makes one")
    if importlib.util.find_spec("urllib3") is None:
        pytest.skip("the host needs urllib3; `pip install urllib3`")
    code = main(["run", str(kernel), "--profile", "sdk", "--adapter", "sdk-host"])
    assert code == 0, capsys.readouterr().out
