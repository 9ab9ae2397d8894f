"""What a person sees: each command's text, streams and exit code."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ExitCode
from build_tools.base.progress import Progress, has_colour
from build_tools.checks.doctor import Diagnosis
from build_tools.cli import kernel as commands
from build_tools.cli import main as cli
from build_tools.cli import tools as tool_commands
from build_tools.env import environment as bootstrap

from .conftest import ROOT, VERSION

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def module(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "kernel.wasm"
    path.write_bytes(sound)
    return path


def test_inspect_shows_one_screen_on_stdout(module: Path, capsys: Capture) -> None:
    assert cli.main(["inspect", str(module)]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.err == ""
    assert len(shown.out.splitlines()) < 60
    for part in (
        "bytes, valid",
        f"extism-kernel {VERSION}, ABI 2",
        "reference-types",
        "2 page(s) at first, no maximum",
    ):
        assert part in shown.out


def test_inspect_as_json_is_json(module: Path, capsys: Capture) -> None:
    assert cli.main(["inspect", "--json", str(module)]) == ExitCode.DONE
    data = json.loads(capsys.readouterr().out)
    assert data["is_valid"] is True
    assert data["kernel_version"] == VERSION
    assert {"name": "alloc", "kind": "func", "type": "(i64) -> i64", "index": 0} in data["exports"]


def test_inspect_says_of_a_cut_module_that_it_is_invalid(module: Path, sound: bytes, capsys: Capture) -> None:
    module.write_bytes(sound[:-40])
    assert cli.main(["inspect", str(module)]) == ExitCode.MALFORMED_INPUT
    shown = capsys.readouterr()
    assert "INVALID: " in shown.out
    assert "error[module-malformed]: is no valid module: " in shown.err
    assert "hint: it may have been cut short" in shown.err


BAD_FILES = {
    "empty": (b"", "error[not-a-module]: the file is empty"),
    "text": (b"hello, world", "error[not-a-module]: starts with b'hell'"),
    "header": (b"\0asm", "error[module-malformed]: ends after 4 bytes"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("command", [["inspect"], ["abi", "check"]], ids=["inspect", "check"])
def test_file_that_is_no_module_is_named(
    content: bytes, message: str, command: list[str], tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "bad.wasm"
    path.write_bytes(content)
    assert cli.main([*command, str(path)]) == ExitCode.MALFORMED_INPUT
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_large_file_is_refused(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "big.wasm"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    assert cli.main(["inspect", str(path)]) == ExitCode.MALFORMED_INPUT
    assert "error[file-too-large]: 200,000,000 bytes" in capsys.readouterr().err


def test_absent_file_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["inspect", str(tmp_path / "absent")]) == ExitCode.MALFORMED_INPUT
    assert "error[file-missing]: there is no such file" in capsys.readouterr().err


def test_check_of_a_sound_kernel_is_done(module: Path, capsys: Capture) -> None:
    assert cli.main(["abi", "check", str(module)]) == ExitCode.DONE
    assert "no findings against ABI 2, flavour context" in capsys.readouterr().out


def test_check_lists_findings_and_says_so_in_the_code(module: Path, sound_text: str, capsys: Capture) -> None:
    module.write_bytes(bytes(wasmtime.wat2wasm(sound_text.replace("(memory 2)", "(memory 3)"))))
    assert cli.main(["abi", "check", str(module)]) == ExitCode.FINDINGS
    out = capsys.readouterr().out
    assert "finding[memory-initial]: starts with 3 pages, the ABI says at most 2\n  at: memory section" in out
    assert "1 finding(s)" in out


def test_check_as_json_lists_findings(module: Path, capsys: Capture) -> None:
    assert cli.main(["abi", "check", "--flavour", "core", "--json", str(module)]) == ExitCode.FINDINGS
    data = json.loads(capsys.readouterr().out)
    assert data["flavour"] == "core"
    assert {finding["code"] for finding in data["findings"]} == {"export-extra", "feature-forbidden"}


DIFFS = {
    "same": ("", "", "none", 0),
    "bytes": ("(i64.const 0) ;; alloc", "(i64.const 1) ;; alloc", "patch", 0),
    "added": (";; start", '(export "more" (func 0))', "minor", 0),
    "removed": ('(export "length" (func 2))', "", "major", 1),
    "changed": ('(export "length" (func 2))', '(export "length" (func 1))', "major", 1),
    "memory": ("(memory 2)", "(memory 3)", "major", 1),
    "start": (";; start", "(start 17)", "major", 1),
    "feature": ("(i64.const 0) ;; alloc", "(i64.extend8_s (i64.const 0)) ;; alloc", "major", 1),
    "import": ("(memory 2)", '(import "a" "b" (table 0 funcref)) (memory 2)', "major", 1),
}


@pytest.mark.parametrize(("old", "new", "verdict", "code"), DIFFS.values(), ids=DIFFS)
def test_diff_says_which_version_step(  # noqa: PLR0917 - a row of the table and the fixtures
    old: str,
    new: str,
    verdict: str,
    code: int,
    module: Path,
    sound_text: str,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    other = tmp_path / "other.wasm"
    other.write_bytes(bytes(wasmtime.wat2wasm(sound_text.replace(old, new))))
    assert cli.main(["abi", "diff", str(module), str(other)]) == code
    assert capsys.readouterr().out.endswith(f"verdict: {verdict}\n")
    assert cli.main(["abi", "diff", "--json", str(module), str(other)]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


USAGE = {
    "nothing": [],
    "unknown": ["frobnicate"],
    "unknown-option": ["kernel", "--frobnicate"],
    "missing-file": ["inspect"],
    "flavour": ["abi", "check", "--flavour", "mild", "x.wasm"],
}


@pytest.mark.parametrize("argv", USAGE.values(), ids=USAGE)
def test_wrong_usage_is_an_error_with_a_hint(argv: list[str], capsys: Capture) -> None:
    assert cli.main(argv) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.err.startswith("error[usage]: ")
    assert "--help` lists what there is" in shown.err


def test_interrupt_is_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, module: Path, capsys: Capture
) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "inspect", interrupted)
    assert cli.main(["inspect", str(module)]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "interrupted; nothing half-written was left\n"


def test_our_bug_is_70_and_says_how_to_report(
    monkeypatch: pytest.MonkeyPatch, module: Path, capsys: Capture
) -> None:
    def broken(_: argparse.Namespace) -> int:
        message = "oops"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(commands, "inspect", broken)
    assert cli.main(["inspect", str(module)]) == ExitCode.INTERNAL
    shown = capsys.readouterr().err
    assert "error[internal]: ZeroDivisionError: oops\n  at: test_cli.py, line " in shown
    assert "EXTISM_KERNEL_TRACEBACK=1" in shown
    assert "Traceback" not in shown


def test_full_disk_anywhere_is_no_bug(monkeypatch: pytest.MonkeyPatch, module: Path, capsys: Capture) -> None:
    def full(_: argparse.Namespace) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(commands, "inspect", full)
    assert cli.main(["inspect", str(module)]) == ExitCode.TOOL_FAILED
    assert "error[disk-full]" in capsys.readouterr().err


def test_reader_that_has_enough_is_no_error(module: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m build_tools --no-bootstrap inspect {module} | head -1"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_reader_that_leaves_does_not_turn_findings_into_none(tmp_path: Path, option: tuple[str, ...]) -> None:
    path = tmp_path / "empty.wasm"
    path.write_bytes(b"\0asm\1\0\0\0")
    argv = [sys.executable, "-m", "build_tools", "--no-bootstrap", "abi", "check", *option, str(path)]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(argv, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.FINDINGS, "")


def test_doctor_says_what_fixes(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    found = [
        Diagnosis(name="rust: PATH", state="note", found="no `rustc`"),
        Diagnosis(name="node", state="note", found="not on PATH", fix="sudo apt-get install nodejs"),
    ]
    monkeypatch.setattr(tool_commands, "examine", lambda _: found)
    assert cli.main(["doctor"]) == ExitCode.TOOLCHAIN
    out = capsys.readouterr().out
    assert "fix: sudo apt-get install nodejs" in out
    assert out.endswith("the kernel cannot be built here\n")
    assert cli.main(["doctor", "--json"]) == ExitCode.TOOLCHAIN
    assert json.loads(capsys.readouterr().out)[1]["fix"] == "sudo apt-get install nodejs"


def test_doctor_of_this_machine_answers(capsys: Capture) -> None:
    assert cli.main(["doctor"]) in {ExitCode.DONE, ExitCode.TOOLCHAIN}
    assert capsys.readouterr().out.startswith("ok         python")


def test_doctor_and_help_need_no_dependency() -> None:
    script = (
        "import sys\n"
        "for name in ('wasmtime', 'wasm_tools'): sys.modules[name] = None\n"
        "from build_tools.cli.main import main\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 3}, done.stderr
    assert json.loads(done.stdout)


def test_missing_dependency_is_named(module: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: argparse.Namespace) -> int:
        raise ModuleNotFoundError("No module named 'wasmtime'", name="wasmtime")

    monkeypatch.setattr(commands, "inspect", lacking)
    monkeypatch.setattr(sys, "prefix", str(module.parent))  # not an environment of ours
    assert cli.main(["inspect", str(module)]) == ExitCode.TOOLCHAIN
    assert "error[environment]: this Python lacks `wasmtime`" in capsys.readouterr().err


SPLITS = {
    "ours": (["kernel", "--json"], ["kernel", "--json"], []),
    "theirs": (["-v", "conformance", "run", "--help"], ["-v", "conformance"], ["run", "--help"]),
    "a-file-of-that-name": (["inspect", "bench"], ["inspect", "bench"], []),
}


@pytest.mark.parametrize(("argv", "own", "handed_on"), SPLITS.values(), ids=SPLITS)
def test_arguments_of_another_program_stay_unread(
    argv: list[str], own: list[str], handed_on: list[str]
) -> None:
    assert cli.split_arguments(argv) == (own, handed_on)


def test_readme_has_the_exit_codes() -> None:
    text = (ROOT / "build_tools" / "README.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == {int(code) for code in ExitCode}


def test_ci_runs_the_test_command_and_nothing_else() -> None:
    lines = [
        line.strip()
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if "build_tools" in line and not line.startswith("#")
    ]
    assert lines == ['exec "$python" -m build_tools test']
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_redraws_on_a_terminal_and_not_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, plain = Terminal(), io.StringIO()
    for stream in (terminal, plain):
        with Progress("working", 1000, stream) as progress:
            for done in range(0, 1001, 10):
                progress.update(done)
    assert "\r" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
    assert plain.getvalue().splitlines() == [
        "working (0 MB) ...",
        "working ... 25 %",
        "working ... 50 %",
        "working ... 75 %",
    ]


def test_colour_is_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert has_colour(Terminal())
    assert cli.paint("error[x]: y", Terminal()) == "\x1b[1;31merror[x]: \x1b[0my"
    assert not has_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.paint("error[x]: y", Terminal()) == "error[x]: y"


def test_every_command_has_its_environment() -> None:
    # argparse has no public way to ask
    commands = set(cli.make_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr,arg-type]
    assert commands >= bootstrap.COMMAND_SETS.keys()
    assert "dev" in bootstrap.COMMAND_SETS["attest"]  # pypi-attestations


@pytest.mark.parametrize("code", ["module-invalid", "nonsense"])
def test_allow_takes_only_codes_that_can_be_staged(code: str, capsys: Capture) -> None:
    assert cli.main(["kernel", "--allow", code]) == ExitCode.USAGE
    assert f"`--allow {code}`: there are alias-differs, " in capsys.readouterr().err


def test_output_that_the_terminal_cannot_show_is_escaped(
    tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k\u00e4rnel.wasm"
    path.write_bytes(sound)
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    assert cli.main(["inspect", str(path)]) == ExitCode.DONE
    assert b"k\\xe4rnel.wasm: " in buffer.getvalue()


def test_help_that_nobody_reads_to_its_end_is_no_fault() -> None:
    command = f"{shlex.quote(sys.executable)} -m build_tools --help | true"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
