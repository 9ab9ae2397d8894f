"""The sdk profile: its plug-ins, its steps, its lint, and what our own host comes to."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime
from extism_kernel_conformance.cases.load import read_cases
from extism_kernel_conformance.cli.main import main

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
        return {{"protocol": 1, "adapter": "toy", "runtime": "toy", "version": "1", "capabilities": []}}
    if r["op"] == "load":
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
    assert len(captured.out.splitlines()) == 5
    assert ("fail  lint/plugins-apart" in captured.out) == (fault != "none")
    assert "5 checks for each adapter" in captured.err


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
