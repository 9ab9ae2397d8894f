from __future__ import annotations

import ast
import os
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import DiskFullError, PythonEnvironmentError, ToolFailedError
from build_tools.env import environment as bootstrap
from build_tools.env import pip as installer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SETS = {
    "kernel": (["kernel"], ("build",)),
    "options-first": (["-v", "kernel", "--force"], ("build",)),
    "test": (["test", "-k", "x"], ("dev", "optional")),
    "help": (["kernel", "--help"], ()),
    "help-of-bench": (["bench", "--help"], ("build",)),
    "nothing": ([], ()),
    "unknown": (["wat"], bootstrap.READS_TOML),
}


@pytest.mark.parametrize(("argv", "sets"), SETS.values(), ids=SETS)
def test_command_gets_no_more_than_it_needs(argv: list[str], sets: tuple[str, ...]) -> None:
    assert bootstrap.sets_for(argv) == sets


@pytest.mark.parametrize("name", ["build", "dev", "optional", "site"])
def test_lock_pins_everything_with_digests_and_no_address(name: str) -> None:
    text = bootstrap.lock_file(name).read_text(encoding="utf-8")
    pins = list(bootstrap.PIN.finditer(text))
    requirements = [line for line in text.splitlines() if line and line[0].isalpha()]
    assert len(pins) == len(requirements) > 0
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "index-url" not in text


def test_build_lock_is_small() -> None:
    names = {
        pin["name"]
        for pin in bootstrap.PIN.finditer(bootstrap.lock_file("build").read_text(encoding="utf-8"))
    }
    assert names == {"tomli", "wasm-tools", "wasmtime"}


@pytest.mark.parametrize("name", ["build", "site"])
def test_dev_lock_pins_what_another_lock_pins(name: str) -> None:
    def pins(name: str) -> set[str]:
        text = bootstrap.lock_file(name).read_text(encoding="utf-8")
        return {f"{pin['name']}=={pin['version']}" for pin in bootstrap.PIN.finditer(text)}

    assert pins(name) <= pins("dev")


def test_markers_on_the_version_of_python_are_read() -> None:
    assert bootstrap._applies(None)
    assert bootstrap._applies("python_full_version >= '3.10'")
    assert not bootstrap._applies("python_full_version < '3.10'")
    assert not bootstrap._applies("sys_platform == 'win32'")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a lock file, whose pip and venv are ours."""
    (tmp_path / "build_tools" / "requirements").mkdir(parents=True)
    lock = tmp_path / "build_tools" / "requirements" / "build.txt"
    lock.write_text("nothing-of-that-name==1.0 \\\n    --hash=sha256:00\n", encoding="utf-8")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(installer, "add_pip", lambda *_, **__: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


NO_MATCH = "noise\nERROR: no matching distribution\nmore noise"


class FakeRun:
    """Stands for `run`: makes a folder for `venv`, notes what pip was asked, fails where it is told to."""

    def __init__(self, fail: str = "") -> None:
        self.fail = fail
        self.calls: list[str] = []

    def __call__(self, argv: Sequence[object], **_: object) -> str:
        command = " ".join(str(part) for part in argv)
        self.calls.append(command)
        if self.fail and self.fail in command:
            raise ToolFailedError(command, 1, NO_MATCH)
        if "-m venv" in command:
            binaries = Path(str(argv[-1])) / "bin"
            binaries.mkdir(parents=True)
            # No link: outside its own environment, ours may be a Python without pip.
            (binaries / "python").write_text(
                f"#!/bin/sh\necho {shlex.quote(str(argv[-1]))}\n", encoding="utf-8"
            )
            (binaries / "python").chmod(0o755)
        return ""


def test_environment_is_made_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    monkeypatch.setattr(bootstrap, "run", fake)
    venv = checkout / ".venv"
    first = bootstrap.make_environment(venv, ["build"])
    assert first == bootstrap.make_environment(venv, ["build"]) == venv / "bin" / "python"
    assert [("-m venv" in call, "-m pip" in call) for call in fake.calls] == [(True, False), (False, True)]
    assert "--require-hashes" in fake.calls[1]


def test_lock_is_installed_without_resolving_it_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRun()
    monkeypatch.setattr(bootstrap, "run", fake)
    bootstrap.make_environment(checkout / ".venv", ["build"])
    assert "--no-deps" in fake.calls[1]


def test_changed_lock_installs_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    monkeypatch.setattr(bootstrap, "run", fake)
    bootstrap.make_environment(checkout / ".venv", ["build"])
    bootstrap.lock_file("build").write_text("another==2 --hash=sha256:11\n", encoding="utf-8")
    bootstrap.make_environment(checkout / ".venv", ["build"])
    assert sum("-m pip" in call for call in fake.calls) == 2


def test_run_killed_in_the_middle_is_made_anew(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    monkeypatch.setattr(bootstrap, "run", fake)
    half = checkout / ".venv" / bootstrap.NOTES
    half.mkdir(parents=True)
    (checkout / ".venv" / "half").touch()
    bootstrap.make_environment(checkout / ".venv", ["build"])
    assert not (checkout / ".venv" / "half").exists()


def test_environment_of_somebody_else_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "theirs").touch()
    with pytest.raises(PythonEnvironmentError, match="did not make"):
        bootstrap.make_environment(checkout / ".venv", ["build"])
    assert (checkout / ".venv" / "theirs").exists()


def test_no_network_is_named_and_the_next_run_goes_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "run", FakeRun(fail="install"))
    with pytest.raises(PythonEnvironmentError, match="no matching distribution") as caught:
        bootstrap.make_environment(checkout / ".venv", ["build"])
    assert "check the network" in caught.value.render()
    assert not bootstrap.note_of("build", checkout / ".venv").exists()
    monkeypatch.setattr(bootstrap, "run", FakeRun())
    bootstrap.make_environment(checkout / ".venv", ["build"])
    assert bootstrap.note_of("build", checkout / ".venv").exists()


@pytest.mark.parametrize("name", ["dev", "optional"])
def test_full_disk_is_no_missing_network(
    name: str, checkout: Path, make_program: Callable[[str, str], Path]
) -> None:
    bootstrap.lock_file(name).touch()
    python = make_program("python", f'case "$*" in *{name}.txt) echo No space left on device; exit 1;; esac')
    venv = checkout / ".venv"
    (venv / bootstrap.NOTES).mkdir(parents=True)
    (venv / bootstrap.NOTES / "made").touch()
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(python)
    with pytest.raises(DiskFullError, match="the disk is full; No space left on device") as caught:
        bootstrap.make_environment(venv, [name])
    assert "TMPDIR" in str(caught.value.hint)


def test_environment_gets_its_pip_from_the_installer(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    given = []
    monkeypatch.setattr(bootstrap, "run", fake)
    monkeypatch.setattr(installer, "add_pip", lambda python, cache, **_: given.append((python, cache)))
    python = bootstrap.make_environment(checkout / ".venv", ["build"])
    assert "-m venv --without-pip" in fake.calls[0]
    assert given == [(python, checkout / "cache" / "extism-kernel")]


def test_environment_without_pip_is_not_left_behind(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise PythonEnvironmentError("no network")

    monkeypatch.setattr(bootstrap, "run", FakeRun())
    monkeypatch.setattr(installer, "add_pip", no_network)
    with pytest.raises(PythonEnvironmentError):
        bootstrap.make_environment(checkout / ".venv", ["build"])
    assert not (checkout / ".venv").exists()


def test_python_that_makes_no_environment_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "run", FakeRun(fail="-m venv"))
    with pytest.raises(PythonEnvironmentError, match="cannot make an environment") as caught:
        bootstrap.make_environment(checkout / ".venv", ["build"])
    assert "-venv`" in caught.value.render()
    assert not (checkout / ".venv").exists()


def test_optional_set_that_does_not_build_is_a_warning(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = checkout / "build_tools" / "requirements" / "optional.txt"
    lock.write_text("odd==1 --hash=sha256:22\n", encoding="utf-8")
    fake = FakeRun(fail="optional.txt")
    monkeypatch.setattr(bootstrap, "run", fake)
    bootstrap.make_environment(checkout / ".venv", ["optional"])
    assert "tests that need it will skip" in caplog.text
    bootstrap.make_environment(checkout / ".venv", ["optional"])
    assert sum("optional.txt" in call for call in fake.calls) == 1, "it is not tried at every run"


def test_environment_of_a_checkout_that_cannot_be_written_is_in_the_cache(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = checkout / ".venv"
    assert bootstrap.find_environment(["build"]) == ours
    monkeypatch.setattr(os, "access", lambda path, _: path != checkout)  # root may write everywhere
    elsewhere = bootstrap.find_environment(["build"])
    assert elsewhere.parent == checkout / "cache" / "extism-kernel" / "environments"
    monkeypatch.setattr(bootstrap, "run", FakeRun())
    assert bootstrap.make_environment(elsewhere, ["build"]) == elsewhere / "bin" / "python"
    assert not ours.exists()
    bootstrap.note_of("build", ours).parent.mkdir(parents=True)
    bootstrap.note_of("build", ours).touch()
    assert bootstrap.find_environment(["build"]) == ours, "its owner made one that will do"


def test_foreign_python_with_other_versions_does_not_do(checkout: Path) -> None:
    assert not bootstrap.is_satisfied("build", checkout / ".venv")


def test_environment_that_does_not_help_is_no_endless_loop(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkout.is_dir()
    monkeypatch.setenv(bootstrap.DONE_VARIABLE, "1")
    assert bootstrap.ensure_environment(["kernel"]) == 3
    assert "still lacks its dependencies" in capsys.readouterr().err


def test_old_python_is_told_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = bootstrap.ROOT / "build_tools" / "__init__.py"
    ast.parse(first.read_text(encoding="utf-8"), feature_version=(3, 4))
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(first))
    assert caught.value.code == 3
    assert "the tools need 3.10 or newer" in capsys.readouterr().err


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_stream_is_no_bug(redirection: str) -> None:
    argv = [sys.executable, "-m", "build_tools", "--no-bootstrap", "inspect", "/nonexistent"]
    command = f"exec {shlex.join(argv)} {redirection}"
    done = subprocess.run(["sh", "-c", command], cwd=bootstrap.ROOT, capture_output=True, check=False)  # noqa: S607
    assert done.returncode == 5
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_in_the_bootstrap_ends_what_it_started(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["build_tools", "kernel"])
    monkeypatch.setattr(bootstrap, "_switch", lambda _: signal.raise_signal(number))
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGHUP)]
    try:
        for each, _ in before:
            signal.signal(each, signal.SIG_DFL)
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("build_tools", run_name="__main__")
    finally:
        for each, handler in before:
            signal.signal(each, handler)
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_checkout_whose_path_is_no_utf8_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    venv = tmp_path / os.fsdecode(b"caf\xe9") / ".venv"
    with pytest.raises(PythonEnvironmentError, match="is not UTF-8"):
        bootstrap.make_environment(venv, ["build"])


def test_link_that_leads_nowhere_is_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    venv = tmp_path / ".venv"
    venv.symlink_to(tmp_path / "nowhere")
    with pytest.raises(PythonEnvironmentError, match="leads nowhere"):
        bootstrap.make_environment(venv, ["build"])


def test_no_bootstrap_is_obeyed() -> None:
    assert bootstrap.ensure_environment(["--no-bootstrap", "kernel"]) is None


def test_missing_dependency_is_told_apart_from_a_bug() -> None:
    theirs = bootstrap.missing_dependency(ModuleNotFoundError("no", name="wasmtime.loader"))
    assert theirs is not None
    assert "lacks `wasmtime`" in theirs.message
    assert bootstrap.missing_dependency(ModuleNotFoundError("no", name="build_tools.nope")) is None


def test_damaged_environment_of_ours_is_told_apart_from_another_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / bootstrap.NOTES).mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    theirs = bootstrap.missing_dependency(ModuleNotFoundError("no", name="wasmtime.loader"))
    assert theirs is not None
    assert theirs.hint == f"remove it: `rm -r {tmp_path}`, and run the same command again"


@pytest.mark.parametrize("function", ["ensure_environment", "missing_dependency"])
def test_interrupt_at_any_import_is_one_line(
    function: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["build_tools", "--no-bootstrap", "doctor"])
    monkeypatch.setattr(bootstrap, function, interrupt)
    monkeypatch.setitem(sys.modules, "build_tools.cli.main", None)  # so that its import fails
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("build_tools", run_name="__main__")
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing half-written was left\n"


def test_bootstrap_imports_nothing_but_the_standard_library() -> None:
    names = sys.stdlib_module_names
    folder = bootstrap.ROOT / "build_tools"
    base = ("errors", "files", "cache", "process", "progress")
    paths = [
        folder / "__main__.py",
        *(folder / "env").glob("*.py"),
        *(folder / "base" / f"{n}.py" for n in base),
    ]
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("import ", "from ")):
                assert line.split()[1].split(".")[0] in names | {"build_tools"}, f"{path.name}: {line}"


@pytest.mark.parametrize("is_complete", [True, False])
def test_offline_takes_an_environment_that_is_complete(
    is_complete: bool, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []
    monkeypatch.setenv(bootstrap.DONE_VARIABLE, "")  # so that it is restored
    monkeypatch.setattr(bootstrap, "make_environment", lambda venv, _: venv / "bin" / "python")
    monkeypatch.setattr(os, "execv", lambda python, _: started.append(python))
    if is_complete:
        note = bootstrap.note_of("build", checkout / ".venv")
        note.parent.mkdir(parents=True)
        note.touch()
    assert bootstrap.ensure_environment(["kernel", "--offline"]) == (None if is_complete else 3)
    assert bool(started) is is_complete
    assert ("says not to download" in capsys.readouterr().err) is not is_complete
