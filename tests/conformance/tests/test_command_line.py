"""The command line: exit codes, errors with a remedy, and runs that prove nothing."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime
from extism_kernel_conformance.adapter.find import adapter_from_command
from extism_kernel_conformance.base.resources import suite_info
from extism_kernel_conformance.cases import load as cases_module
from extism_kernel_conformance.run import settings as settings_module
from extism_kernel_conformance.wasm.module import leb128

from .conftest import SUITE, toy_adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Ran

PASSING = {"id": "toy/passes", "steps": [{"call": "alloc", "args": [8], "expect": 1024}]}

USAGE = {
    "no-adapter": (["run", "KERNEL"], 2, "no adapter is given"),
    "unknown-adapter": (["run", "KERNEL", "--adapter", "nodejs"], 2, "there is no adapter `nodejs`"),
    "both": (["run", "KERNEL", "--adapter", "node", "--command", "x"], 2, "exclude each other"),
    "missing-kernel": (["run", "no.wasm", "--command", "x"], 5, "No such file"),
    "no-module": (["run", __file__, "--command", "x"], 5, "this is no WebAssembly module"),
    "level-to-come": (
        ["run", "KERNEL", "--command", "x", "--suite-level", "99.0"],
        2,
        "suite level 99.0 is newer than this suite",
    ),
    "bad-level": (["run", "KERNEL", "--command", "x", "--suite-level", "latest"], 2, "write it as `1.2`"),
    "unknown-case": (["run", "KERNEL", "--command", "x", "--case", "alloc/nothing"], 2, "there is no case"),
    "no-jobs": (["run", "KERNEL", "--command", "x", "--jobs", "0"], 2, "`0` is no number of jobs"),
    "empty-command": (["run", "KERNEL", "--command", " "], 2, "`--command` is empty"),
    "unbalanced-command": (["run", "KERNEL", "--command", "'x"], 2, "No closing quotation"),
    "negative-timeout": (["run", "KERNEL", "--command", "x", "--timeout", "-1"], 2, "no time above 0"),
    "report-nowhere": (["run", "KERNEL", "--command", "x", "--report", "/no/r"], 2, "no folder for"),
    "report-folder": (["run", "KERNEL", "--command", "x", "--report", str(SUITE)], 2, "this is a folder"),
    "no-known-failures": (["run", "KERNEL", "--command", "x", "--known-failures", "no"], 2, "no such list"),
    "no-adapter-folder": (["adapters", "--adapters", "no"], 2, "there is no adapter.json here"),
    "tarball-nowhere": (["tarball", "/no/suite.tar.gz"], 4, "error[file]"),
    "no-command": ([], 2, "COMMAND"),
    "missing-report": (["report", "no.jsonl"], 5, "the report cannot be read"),
}


@pytest.mark.parametrize(("argv", "code", "words"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_told_without_a_traceback(
    argv: list[str], code: int, words: str, cli: Callable[..., Ran], toy_kernel: Path
) -> None:
    ran = cli(*(str(toy_kernel) if word == "KERNEL" else word for word in argv))
    assert ran.code == code
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_cut_module_is_refused(cli: Callable[..., Ran], toy_kernel: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.wasm"
    path.write_bytes(toy_kernel.read_bytes()[:-30])
    ran = cli("run", path, "--command", "x")
    assert ran.code == 5
    assert "ends in the middle of a section" in ran.err


def test_module_that_fits_no_line_is_refused(
    cli: Callable[..., Ran], toy_kernel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plugin.wasm"
    size = 3 << 20
    padding = bytes((0, *leb128(size), 1)) + b"x" * (size - 1)  # a custom section
    path.write_bytes(toy_kernel.read_bytes() + padding)
    ran = cli("run", path, "--command", toy_adapter(), "--case", "error/zero-clears", "--no-lint")
    assert ran.code == 5
    assert "which is no size of a kernel" in ran.err


def test_run_without_a_case_is_red(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases(PASSING)
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "-k", "nothing")
    assert ran.code == 1
    assert "no case ran: -k, --case, --suite-level and --skip-slow leave none; see `cases --list`" in ran.out


@pytest.mark.parametrize("command", ["run", "lint"])
def test_red_stays_red_when_nobody_reads_it(
    command: str, toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/fails", "steps": [{"call": "alloc", "args": [8], "expect": 8}]})
    commands: dict[str, list[str | Path]] = {
        "run": ["run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "--no-lint"],
        "lint": ["lint", "--command", toy_adapter("floats")],
    }
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        ran = subprocess.run(
            [sys.executable, "-m", "extism_kernel_conformance", *commands[command]],
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1, ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_full_disk_takes_no_verdict_and_leaves_nothing(
    cli: Callable[..., Ran],
    toy_kernel: Path,
    write_cases: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    cases, folder = write_cases(PASSING), tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr(Path, "write_bytes", is_full)
    argv = ["run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "--no-lint"]
    ran = cli(*argv, "--report", folder / "report.jsonl")
    assert ran.code == 4
    assert "error[file]: No space left on device" in ran.err
    assert "1 pass" in ran.out
    assert not list(folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="a named pipe is a thing of POSIX")
def test_pipe_as_report_is_written_to_and_not_replaced(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDWR), "rb", buffering=0) as pipe:
        argv = ["run", toy_kernel, "--cases", write_cases(PASSING), "--command", toy_adapter(), "--no-lint"]
        assert cli(*argv, "--report", path).code == 0
        assert path.is_fifo()
        assert pipe.read(17) == b'{"type": "header"'


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_interrupted_run_ends_at_once_with_its_adapters(
    number: signal.Signals, toy_kernel: Path, write_cases: Callable[..., Path], tmp_path: Path
) -> None:
    note = tmp_path / "adapter"
    script = f"echo $$ > {shlex.quote(str(note))}; exec {toy_adapter('hangs')}"
    cases = write_cases({"id": "toy/hangs", "steps": [{"call": "length", "args": [13]}]})
    command = shlex.join(["sh", "-c", script])
    argv = [
        "run",
        str(toy_kernel),
        "--cases",
        str(cases),
        "--command",
        command,
        "--no-lint",
        "--timeout",
        "300",
    ]
    report = tmp_path / "report.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "extism_kernel_conformance", *argv, "--report", report],
        stderr=subprocess.PIPE,
        text=True,
        # Whoever started the tests in the background may have had Ctrl-C ignored in all that follow.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as run:
        try:
            deadline = time.monotonic() + 30
            while not note.exists() or not note.read_text():
                assert time.monotonic() < deadline, "the adapter did not start"
                time.sleep(0.05)
            time.sleep(1)
            run.send_signal(number)
            _, err = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 130
    assert "interrupted\n" in err
    assert "Traceback" not in err
    assert not report.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_run_of_skips_only_is_red(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/skips", "steps": [{"call": "reset", "fuel": 1}]})
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter())
    assert ran.code == 1
    assert "no case ran" in ran.out


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    folder = tmp_path / "adapters" / "rare"
    folder.mkdir(parents=True)
    requirement = {"program": "no-such-runtime", "install": "apt-get install no-such-runtime"}
    described = [
        {"name": "rare", "runtime": "rare", "requires": [requirement], "command": ["no-such-runtime"]},
        {"name": "core-only", "runtime": "rare", "flavours": ["core"], "command": ["x"]},
        {"name": "toy", "runtime": "toy", "command": shlex.split(toy_adapter())},
        {"name": "unbuildable", "runtime": "toy", "build": [["{python}", "-c", "1/0"]], "command": ["x"]},
    ]
    (folder / "adapter.json").write_text(json.dumps(described), encoding="utf-8")
    return folder.parent


def test_what_a_machine_lacks_is_a_skip_with_the_remedy_and_red_if_required(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path], lacking: Path
) -> None:
    argv = ["run", toy_kernel, "--cases", write_cases(PASSING), "--adapters", lacking]
    ran = cli(*argv, "--adapter", "rare", "--adapter", "toy")
    assert ran.code == 0, ran.out
    assert "install it with `apt-get install no-such-runtime`" in ran.out
    required = cli(*argv, "--adapter", "rare", "--adapter", "toy", "--require")
    assert required.code == 1
    assert "not run, though `--require` asks for it: rare\n" in required.err
    alone = cli(*argv, "--adapter", "core-only")
    assert alone.code == 1
    assert "give extism-runtime-core.wasm as well" in alone.out
    assert "a run without cases proves nothing" in alone.err


def test_adapter_that_does_not_build_is_red(  # noqa: PLR0917 - fixtures
    cli: Callable[..., Ran],
    toy_kernel: Path,
    write_cases: Callable[..., Path],
    lacking: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    argv = [
        "run",
        toy_kernel,
        "--cases",
        write_cases(PASSING),
        "--adapters",
        lacking,
        "--adapter",
        "unbuildable",
    ]
    ran = cli(*argv)
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.out


def test_name_taken_twice_is_refused(cli: Callable[..., Ran], lacking: Path) -> None:
    other = lacking / "other"
    other.mkdir()
    (other / "adapter.json").write_text('{"name": "toy", "runtime": "x", "command": ["x"]}', encoding="utf-8")
    ran = cli("adapters", "--adapters", lacking)
    assert ran.code == 5
    assert "the name `toy` is taken" in ran.err


def test_adapters_lists_what_is_lacking(cli: Callable[..., Ran], lacking: Path) -> None:
    rows = {row["name"]: row for row in json.loads(cli("adapters", "--json", "--adapters", lacking).out)}
    assert "apt-get install no-such-runtime" in rows["rare"]["lacking"]
    assert rows["toy"]["lacking"] is None
    assert {"wasmtime", "node", "bun", "deno"} <= rows.keys()


def test_replay_prints_each_operation_and_its_answer(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    cases = write_cases({"id": "toy/fails", "steps": [{"call": "alloc", "args": [8], "expect": 8}]})
    ran = cli("replay", "toy/fails", toy_kernel, "--cases", cases, "--command", toy_adapter())
    assert ran.code == 1
    assert '-> {"id": ' in ran.out
    assert '"op": "call", "instance": "a1", "name": "alloc", "args": ["i64:8"]' in ran.out
    assert '"values": ["i64:1024"]' in ran.out
    assert "verdict: fail\nstep: steps[0]\ncall: alloc(8)\nexpected: 8\ngot: 1024\n" in ran.out


def test_fail_fast_ends_at_the_first_red_case(
    cli: Callable[..., Ran], toy_kernel: Path, write_cases: Callable[..., Path]
) -> None:
    steps = [{"call": "alloc", "args": [8], "expect": 8}]
    cases = write_cases(*({"id": f"toy/{name}", "steps": steps} for name in ("a", "b", "c")))
    ran = cli("run", toy_kernel, "--cases", cases, "--command", toy_adapter(), "--no-lint", "--fail-fast")
    assert "1 fail (" in ran.out


@pytest.mark.parametrize(
    ("command", "name"),
    {
        "node FOLDER/my.mjs kernel": "my",
        "python -u FOLDER/my.mjs --fast": "my",
        "./adapter --fast": "adapter",
        "./adapter kernel": "adapter",
        "node not-there.mjs kernel": "not-there",
        "-x": "-x",
        "python -m adapters.mine kernel": "adapters.mine",
    }.items(),
)
def test_configuration_of_a_command_is_named_after_its_file(command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "my.mjs").touch()
    assert adapter_from_command(command.replace("FOLDER", str(tmp_path))).name == name


def test_suite_level_leaves_out_newer_cases(
    cli: Callable[..., Ran],
    toy_kernel: Path,
    write_cases: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = dataclasses.replace(suite_info(), version="1.5.0")
    for module in (cases_module, settings_module):
        monkeypatch.setattr(module, "suite_info", lambda: newer)
    steps = [{"call": "reset"}]
    folder = write_cases(*({"id": f"toy/v{n}", "since": f"1.{n}.1", "steps": steps} for n in range(5)))
    argv = ["run", toy_kernel, "--cases", folder, "--command", toy_adapter(), "--no-lint"]
    assert "3 pass" in cli(*argv, "--suite-level", "1.2").out
    assert "5 pass" in cli(*argv).out


def test_cases_copy_gives_everything_another_runner_needs(cli: Callable[..., Ran], tmp_path: Path) -> None:
    target = tmp_path / "copy"
    assert cli("cases", "--copy", target).code == 0
    documents = {"PROTOCOL.md", "RULES.md", "SDK.md"}
    wanted = {"cases", "plugins", "schema", "suite.json", "surface.json", *documents}
    assert wanted <= {path.name for path in target.iterdir()}
    again = cli("cases", "--copy", target)
    assert again.code == 2
    assert "is not empty" in again.err


def test_cases_copy_leaves_no_half_of_a_folder(
    cli: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(_: str, target: str, **__: bool) -> None:
        Path(target).touch()
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr("shutil.copyfile", is_full)
    ran = cli("cases", "--copy", tmp_path / "copy")
    assert ran.code == 4
    assert len(ran.err.splitlines()) == 2
    assert "No space left on device" in ran.err
    assert not (tmp_path / "copy").exists()


def test_cases_list_is_json(cli: Callable[..., Ran]) -> None:
    rows = json.loads(cli("cases", "--list", "--json").out)
    assert len(rows) >= 120
    assert {"id", "since", "spec", "level", "profile", "needs", "slow", "title"} == rows[0].keys()


@pytest.mark.parametrize("path", sorted((SUITE / "lint").glob("*.wat")), ids=lambda path: path.stem)
def test_lint_module_is_what_its_text_says(path: Path) -> None:
    assert (
        bytes(wasmtime.wat2wasm(path.read_text(encoding="utf-8"))).hex()
        == path.with_suffix(".hex").read_text().strip()
    )
