"""`--version`, completion, "did you mean", and errors as JSON."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ExitCode, PythonEnvironmentError
from build_tools.base.project import find_project
from build_tools.cli import main as cli
from build_tools.cli.completion import SHELLS, render_script, walk
from build_tools.env import environment
from build_tools.kernel.version import read_version

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
LEVELS = {level.path: level for level in walk(cli.make_parser())}


def test_version_is_that_of_the_crate(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == ExitCode.DONE
    assert capsys.readouterr().out == f"extism-kernel {read_version(find_project().cargo_toml)}\n"


NEAR = {
    "command": (["tset"], "test"),
    "inner-command": (["abi", "chekc", "x.wasm"], "check"),
    "option": (["kernel", "--ofline"], "--offline"),
    "option-with-value": (["wheel", "--prebuild=x"], "--prebuilt"),
    "choice": (["completion", "bahs"], "bash"),
    "option-of-the-program": (["--verson"], None),  # argparse asks for a command first
    "nothing-near": (["xyzzy"], None),
    "no-option-near": (["kernel", "--quux"], None),
}


@pytest.mark.parametrize(("argv", "meant"), NEAR.values(), ids=NEAR)
def test_what_was_meant_is_said(argv: list[str], meant: str | None, capsys: Capture) -> None:
    assert cli.main(argv) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith("error[usage]: ")
    assert (f"hint: did you mean `{meant}`? " in said) if meant else ("did you mean" not in said)
    assert "--help` lists what there is" in said


JSON_COMMANDS = {level.path for level in LEVELS.values() if "--json" in level.options}


def test_commands_with_json_are_many() -> None:
    assert {("inspect",), ("abi", "check"), ("kernel",), ("doctor",), ("verify",)} <= JSON_COMMANDS


@pytest.mark.parametrize("path", sorted(JSON_COMMANDS), ids=" ".join)
def test_error_is_one_json_document(path: tuple[str, ...], capsys: Capture) -> None:
    assert cli.main([*path, "--json", "--no-such-option"]) == ExitCode.USAGE
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert error["code"] == "usage"
    assert error["exit_code"] == ExitCode.USAGE
    assert set(error) == {"code", "message", "where", "hint", "exit_code"}
    assert shown.err.startswith("error[usage]: "), "the log has it in words"


def test_absent_file_is_a_json_error(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["inspect", "--json", str(tmp_path / "absent")]) == ExitCode.MALFORMED_INPUT
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["where"]) == ("file-missing", str(tmp_path / "absent"))


def test_bug_is_a_json_error(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("by zero")

    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=broken, verbose=False)
    monkeypatch.setattr(cli, "make_parser", lambda: parser)
    monkeypatch.setattr(cli, "explain_damage", lambda: None)  # it reads the whole environment
    assert cli.main(["--json"]) == ExitCode.INTERNAL
    assert json.loads(capsys.readouterr().out)["error"]["message"] == "ZeroDivisionError: by zero"


def test_cut_module_is_one_json_document_with_facts_and_error(
    tmp_path: Path, sound: bytes, capsys: Capture
) -> None:
    path = tmp_path / "cut.wasm"
    path.write_bytes(sound[:-40])
    assert cli.main(["inspect", "--json", str(path)]) == ExitCode.MALFORMED_INPUT
    data = json.loads(capsys.readouterr().out)
    assert data["is_valid"] is False
    assert data["error"]["code"] == "module-malformed"


def test_environment_that_cannot_be_made_is_a_json_error(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PythonEnvironmentError("no network", hint="connect")

    monkeypatch.setattr(environment, "_switch", refuse)
    assert environment.ensure_environment(["kernel", "--json"]) == ExitCode.TOOLCHAIN
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "environment"


def test_every_command_says_what_it_imports() -> None:
    """A mistyped command is refused before an environment is made for it."""
    commands = {path[0] for path in LEVELS if len(path) == 1}
    assert set(environment.COMMAND_SETS) == commands
    assert environment.sets_for(["kernle"]) == environment.READS_TOML


def complete(line: str, folder: Path) -> list[str]:
    """Return what bash offers for a line whose last word is being typed."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    script = render_script(cli.make_parser(), "bash") + (
        f"COMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        '_extism_kernel_build_tools\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    argv = ["bash", "--norc", "-c", script]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no `bash`; install it with `apt-get install bash`")
@pytest.mark.parametrize(
    ("line", "offered"),
    {
        "python -m build_tools ke": ["kernel"],
        "python3 -m build_tools abi ": ["check", "diff", "--help"],
        "python -m build_tools kernel --o": ["--out", "--offline"],
        "python -m build_tools inspect mod": ["module.wasm"],
        "python -m build_tools inspect --json mod": ["module.wasm"],
        "python -m build_tools completion f": ["fish"],
        "python mod": ["module.wasm"],
    }.items(),
)
def test_bash_completes(line: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "module.wasm").touch()
    assert complete(line, tmp_path) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_script_names_every_command_and_option(shell: str, capsys: Capture) -> None:
    assert cli.main(["completion", shell]) == ExitCode.DONE
    script = capsys.readouterr().out
    for level in LEVELS.values():
        assert all(name in script for name in level.path)
        assert all(option.removeprefix("--") in script for option in level.options)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_script_is_read_by_its_shell(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no `{shell}`; install it with `apt-get install {shell}`")
    path = tmp_path / "script"
    path.write_text(render_script(cli.make_parser(), shell), encoding="utf-8")
    subprocess.run([program, "-n", path], check=True)


@pytest.mark.skipif(bool(environment.READS_TOML), reason="this Python reads no TOML; use 3.11 or newer")
def test_version_needs_no_dependency() -> None:
    """It must answer before there is an environment; `-S` hides what is installed."""
    argv = [sys.executable, "-S", "-m", "build_tools", "--version"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("extism-kernel ")


HEAVY = (
    "build_tools.ecosystems",
    "build_tools.release",
    "extism_kernel_pkg.vendored",
    "wasmtime",
    "urllib.request",
)


def test_parsers_import_nothing_that_one_command_alone_needs() -> None:
    """Every start of `python -m build_tools` waits for what the parsers import."""
    script = f"import sys, build_tools.cli.main as cli; cli.make_parser()\nfor name in {HEAVY}:\n    "
    script += "assert name not in sys.modules, name"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", ["package", "verify"])
def test_arguments_that_are_added_late_are_in_the_help(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert {"package": "--signatures", "verify": "--sarif"}[command] in capsys.readouterr().out
