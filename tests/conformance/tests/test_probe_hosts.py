"""Probes through adapters: hosts that refuse imports, know no time limit or answer nonsense; and our own."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.play.probe_player import judge_answer
from extism_kernel_conformance.probe.module import MARK
from extism_kernel_conformance.probe.program import Program, Site
from extism_kernel_conformance.run.known_failures import read_entries
from extism_kernel_conformance.run.report import read_reports

from .conftest import SUITE

sys.path.insert(0, str(SUITE / "mutants"))

from kernel_mutants.kernels import KernelNotFoundError, fetch_sdk_kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

KERNEL = SUITE.parents[1] / "extism_kernel_pkg" / "extism-runtime.wasm"
QUICK = ("probe/alloc/zero", "probe/load-store/u", "probe/reset/gives", "probe/generations/first")
"""A handful of cases for every push; the whole is `test_our_host_keeps_every_promise`."""

# A host that runs nothing: it refuses some imports in some way, and answers every call with the same report.
HOST = """
import json, sys
FAULT, REFUSED, OUTPUT = {fault!r}, {refused!r}, {output!r}
def answer(r):
    if r["op"] == "hello":
        return {{"protocol": 1, "adapter": "toy", "runtime": "toy", "version": "1", "capabilities": []}}
    if r["op"] == "invoke":
        return {{"output": OUTPUT, "logs": []}}
    if r["op"] == "load":
        module = bytes.fromhex(r["modules"][0]["bytes"])
        if FAULT == "knows-no-limit" and r["manifest"] or FAULT == "knows-nothing":
            return {{"result": "unsupported"}}
        if any(name.encode() in module for name in REFUSED):
            if FAULT == "dies":
                sys.exit(3)
            return {{"result": "reject", "message": "unknown import"}}
        if FAULT == "rejects-the-probe" and len(module) > 130:
            return {{"result": "reject", "message": "too long"}}
    return {{}}
for line in sys.stdin:
    r = json.loads(line)
    print(json.dumps({{"id": r["id"], "result": "ok", **answer(r)}}), flush=True)
"""

STEPS = [{"call": "alloc", "args": [8], "expect": {"ne": 0}}, {"call": "reset"}]


def report(site: int = 0, got: int = 1, operand: int = 0, mark: int = MARK) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in (mark, site, got, operand))


@pytest.fixture
def judge(
    tmp_path: Path, toy_kernel: Path, cli: Callable[..., Ran], write_cases: Callable[..., Path]
) -> Callable[..., dict[str, Any]]:
    """Run kernel cases in the sdk profile on a host with a fault, and return the report's lines by id."""

    def run(fault: str, *cases: dict[str, object], refused: tuple[str, ...] = ()) -> dict[str, Any]:
        adapter = tmp_path / "host.py"
        adapter.write_text(HOST.format(fault=fault, refused=refused, output=report().hex()), encoding="utf-8")
        folder, lines = write_cases(*cases), tmp_path / "report.jsonl"
        command = shlex.join([sys.executable, str(adapter)])
        options = ["--profile", "sdk", "--no-lint", "--cases", folder, "--command", command]
        ran = cli("run", toy_kernel, *options, "--report", lines)
        (section,) = read_reports([lines])
        assert "internal" not in ran.err, ran.err
        return {line["id"]: line for line in section.cases}

    return run


def test_probe_is_a_case_of_the_sdk_profile(judge: Callable[..., dict[str, Any]]) -> None:
    case = {"id": "toy/x", "steps": STEPS, "spec": ["A-1", "L-2"], "level": "should"}
    (line,) = judge("none", case).values()
    assert line["id"] == "probe/toy/x"
    assert (line["verdict"], line["spec"], line["level"]) == ("pass", ["A-1", "L-2"], "should")


@pytest.mark.parametrize("fault", ["refuses", "dies"])
def test_import_that_a_host_refuses_is_a_skip(judge: Callable[..., dict[str, Any]], fault: str) -> None:
    other = {"id": "toy/other", "steps": STEPS[:1]}
    cases = [{"id": f"toy/{name}", "steps": STEPS} for name in "xy"]
    lines = judge(fault, *cases, other, refused=("reset",))
    need = "needs extism:host/env.reset, which this host does not offer to guests"
    assert {lines[f"probe/toy/{name}"]["message"] for name in "xy"} == {need}
    assert lines["probe/toy/other"]["verdict"] == "pass"


def test_probe_that_a_host_rejects_for_another_reason_is_a_failure(
    judge: Callable[..., dict[str, Any]],
) -> None:
    (line,) = judge("rejects-the-probe", {"id": "toy/x", "steps": STEPS}).values()
    assert (line["verdict"], line["got"]) == ("fail", "reject: too long")


def test_host_without_a_time_limit_is_asked_again_without(judge: Callable[..., dict[str, Any]]) -> None:
    (line,) = judge("knows-no-limit", {"id": "toy/x", "steps": STEPS}).values()
    assert line["verdict"] == "pass"


def test_host_that_loads_nothing_is_a_skip(judge: Callable[..., dict[str, Any]]) -> None:
    (line,) = judge("knows-nothing", {"id": "toy/x", "steps": STEPS}).values()
    assert line["verdict"] == "skip"
    assert "needs to load a plug-in" in line["message"]


def test_unmet_need_is_a_skip_and_never_a_pass(judge: Callable[..., dict[str, Any]]) -> None:
    (line,) = judge("none", {"id": "toy/x", "steps": [*STEPS, {"pages": 2}]}).values()
    assert line["verdict"] == "skip"
    assert line["message"].startswith("needs seeing the size of the kernel's memory")


NONSENSE = {
    "nothing": b"",
    "too-short": report()[:24],
    "too-long": report() + b"\0",
    "another-mark": report(mark=MARK + 1),
    "another-count": report(got=2),
    "no-such-check": report(site=2),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_output_that_is_no_report_is_a_failure(name: str) -> None:
    program = Program(ops=(), sites=(Site(where="steps[0]", expected="{}"),), slots=0, prefix="")
    with pytest.raises(CaseFailed, match="the probe's report as the output"):
        judge_answer(program, {"result": "ok", "output": NONSENSE[name].hex()})


def test_our_host_plays_probes(cli: Callable[..., Ran]) -> None:
    if not KERNEL.is_file():
        pytest.skip("no kernel is staged; `python -m build_tools kernel` makes one")
    if importlib.util.find_spec("urllib3") is None:
        pytest.skip("the host needs urllib3; `pip install urllib3`")
    patterns = [word for pattern in QUICK for word in ("-k", pattern)]
    ran = cli("run", KERNEL, "--profile", "sdk", "--adapter", "sdk-host", "--no-lint", "--json", *patterns)
    (footer,) = json.loads(ran.out)
    assert ran.code == 0, ran.out
    assert footer["verdicts"]["pass"] >= 8


@pytest.mark.slow
def test_probes_find_what_the_kernel_profile_finds(cli: Callable[..., Ran], tmp_path: Path) -> None:
    """The kernel of an SDK in our host: no defect is missed for want of means, and none is made up."""
    if importlib.util.find_spec("urllib3") is None:
        pytest.skip("the host needs urllib3; `pip install urllib3`")
    try:
        kernel = fetch_sdk_kernel()
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))
    lines = tmp_path / "report.jsonl"
    options = ["--profile", "sdk", "--adapter", "sdk-host", "--no-lint", "-k", "probe/", "--report", lines]
    cli("run", kernel, *options)
    (section,) = read_reports([lines])
    verdicts = {line["id"].removeprefix("probe/"): line["verdict"] for line in section.cases}
    failed = {case for case, verdict in verdicts.items() if verdict == "fail"}
    subject = SUITE / "mutants" / "subjects" / "go-sdk.json"
    entries = [entry for entry in read_entries(subject) if verdicts[entry["case"]] != "skip"]
    known = {entry["case"] for entry in entries}
    # A host counts no instructions: there a kernel that spends too many only takes longer.
    unseen = {entry["case"] for entry in entries if entry["got"] == "trap fuel"}
    # A host offers the first names to old guests whether its kernel exports them or not.
    assert {case for case in failed ^ known if not case.startswith("generations/")} - unseen == set()


def test_replay_shows_the_probe_of_a_case(cli: Callable[..., Ran]) -> None:
    if not KERNEL.is_file() or importlib.util.find_spec("urllib3") is None:
        pytest.skip("no kernel is staged, or urllib3 is missing")
    ran = cli("replay", "probe/alloc/zero-is-none", KERNEL, "--profile", "sdk", "--adapter", "sdk-host")
    assert "verdict: pass" in ran.out
    assert '"function": "probe"' in ran.out


LISTS = sorted((SUITE / "adapters").glob("sdk-*/known-failures.json"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.name)
def test_known_failure_of_a_probe_names_a_kernel_case(path: Path, cli: Callable[..., Ran]) -> None:
    known = {
        case["id"] for case in json.loads(cli("cases", "--list", "--json").out) if case["profile"] == "kernel"
    }
    listed = {entry["case"] for entry in read_entries(path) if entry["case"].startswith("probe/")}
    assert {case.removeprefix("probe/") for case in listed} <= known
