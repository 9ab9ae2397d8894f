"""The kernel that a report names is the one that was judged, or the report is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime
from extism_kernel_conformance.run.judged import find_false_claim

from .test_sdk_profile import ADAPTER, LOAD, case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

OTHER = "0" * 64


@pytest.fixture
def play(
    cli: Callable[..., Ran], toy_kernel: Path, tmp_path: Path
) -> Callable[..., tuple[Ran, dict[str, Any]]]:
    """Play a case on a toy SDK whose adapter says something of its kernel; return the header too."""

    def run(says: str | None, *, takes: bool) -> tuple[Ran, dict[str, Any]]:
        folder = tmp_path / "adapters" / "toy"
        folder.mkdir(parents=True)
        digest = hashlib.sha256(toy_kernel.read_bytes()).hexdigest()
        text = ADAPTER.format(fault="none")
        if says is not None:
            said = digest if says == "given" else says
            about = '"capabilities": '
            assert about in text
            text = text.replace(about, f'"kernel": "{said}", {about}')
        (folder / "adapter.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "{dir}/adapter.py", *(["{kernel}"] if takes else [])]
        described = {"name": "toy", "runtime": "toy", "profile": "sdk", "command": command}
        (folder / "adapter.json").write_text(json.dumps(described), encoding="utf-8")
        cases = tmp_path / "cases"
        cases.mkdir()
        toy = case(LOAD, {"invoke": "echo", "input": "x", "expect": "x"})
        (cases / "toy.json").write_text(json.dumps({"cases": [toy]}), encoding="utf-8")
        report = tmp_path / "report.jsonl"
        options = ["--profile", "sdk", "--cases", cases, "--adapters", folder, "--adapter", "toy"]
        ran = cli("run", toy_kernel, *options, "--report", report)
        return ran, json.loads(report.read_text(encoding="utf-8").split("\n")[0])

    return run


@pytest.mark.parametrize(
    ("says", "digest"), [(None, "unknown"), ("embedded", "unknown"), ("none", "none"), (OTHER, OTHER)]
)
def test_report_names_the_kernel_that_the_sdk_ran(
    play: Callable[..., tuple[Ran, dict[str, Any]]], says: str | None, digest: str
) -> None:
    ran, header = play(says, takes=False)
    assert ran.code == 0, ran.out + ran.err
    assert header["kernel"] == {"file": "", "sha256": digest, "bytes": 0, "flavour": "none"}


def test_report_names_the_given_kernel_where_the_sdk_ran_it(
    play: Callable[..., tuple[Ran, dict[str, Any]]], toy_kernel: Path
) -> None:
    ran, header = play("given", takes=True)
    assert ran.code == 0, ran.out + ran.err
    assert header["kernel"]["file"] == toy_kernel.name
    assert header["kernel"]["sha256"] == header["runtime"]["kernel"]


@pytest.mark.parametrize("says", [None, "embedded", OTHER])
def test_adapter_that_takes_a_kernel_and_runs_another_is_refused(
    play: Callable[..., tuple[Ran, dict[str, Any]]], says: str | None
) -> None:
    ran, _ = play(says, takes=True)
    assert ran.code == 1
    assert "adapter-kernel: it was given the kernel" in ran.out


CLAIMS = {
    "another-kernel": ("sdk", OTHER, "1" * 64, "it claims the kernel 0000000000000000, the adapter ran"),
    "given-though-embedded": ("sdk", OTHER, "embedded", "the adapter ran unknown"),
    "given-though-none": ("sdk", OTHER, "none", "the adapter ran none"),
    "not-said": ("sdk", OTHER, "", "does not say which one it ran"),
    "said-in-the-kernel-profile": ("kernel", OTHER, OTHER, "the one that was given"),
    "true": ("sdk", OTHER, OTHER, None),
    "true-unknown": ("sdk", "unknown", "embedded", None),
    "true-kernel-profile": ("kernel", OTHER, "", None),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_false_claim_is_found(claim: str) -> None:
    profile, digest, said, message = CLAIMS[claim]
    runtime = {"kernel": said} if said else {}
    found = find_false_claim({"profile": profile, "kernel": {"sha256": digest}, "runtime": runtime})
    assert found is None if message is None else message in str(found)


def test_report_that_claims_another_kernel_is_refused(
    play: Callable[..., tuple[Ran, dict[str, Any]]], cli: Callable[..., Ran], toy_kernel: Path, tmp_path: Path
) -> None:
    play(OTHER, takes=False)
    report = tmp_path / "report.jsonl"
    digest = hashlib.sha256(toy_kernel.read_bytes()).hexdigest()
    text = report.read_text(encoding="utf-8").replace(f'"sha256": "{OTHER}"', f'"sha256": "{digest}"')
    report.write_text(text, encoding="utf-8")
    ran = cli("report", report)
    assert ran.code == 5
    assert f"it claims the kernel {digest[:16]}, the adapter ran {OTHER[:16]}" in ran.err


def test_start_hands_the_lines_to_the_adapter(tmp_path: Path, toy_kernel: Path) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER.format(fault="none"), encoding="utf-8")
    described = {"name": "toy", "runtime": "toy", "command": [sys.executable, "{dir}/adapter.py"]}
    (tmp_path / "adapter.json").write_text(json.dumps(described), encoding="utf-8")
    argv = [sys.executable, "-m", "extism_kernel_conformance", "start", "toy", str(toy_kernel)]
    done = subprocess.run(
        [*argv, "--adapters", str(tmp_path)],
        input='{"id": 1, "op": "hello", "protocol": 1}\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["adapter"] == "toy", done.stderr


def test_start_of_an_unknown_configuration_is_refused(cli: Callable[..., Ran], toy_kernel: Path) -> None:
    ran = cli("start", "nobody", toy_kernel)
    assert ran.code == 2
    assert "there is no configuration `nobody`" in ran.err


def test_probe_of_a_case_is_written_as_a_module(cli: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "probe.wasm"
    assert cli("probe", "alloc/zero-is-none", path).code == 0
    wasmtime.Module.validate(wasmtime.Engine(), path.read_bytes())


@pytest.mark.parametrize(
    ("case_id", "message"),
    [("alloc/none", "there is no case"), ("surface/starts-with-at-most-two-pages", "no plug-in can play")],
)
def test_case_without_a_probe_is_refused(
    cli: Callable[..., Ran], tmp_path: Path, case_id: str, message: str
) -> None:
    ran = cli("probe", case_id, tmp_path / "probe.wasm")
    assert ran.code == 2
    assert message in ran.err
