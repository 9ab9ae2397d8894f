"""`doctor` promises only what it tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ExitCode
from build_tools.base.project import find_project
from build_tools.checks import doctor
from build_tools.checks.doctor import Diagnosis
from build_tools.cli.main import main
from build_tools.toolchain import debian
from build_tools.toolchain import find as toolchain
from build_tools.toolchain.debian import System

from .test_toolchain import bare_machine, fake_rustc, make_sysroot  # noqa: F401 - the first is a fixture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeProgram = Callable[[str, str], Path]


@pytest.fixture
def search(tmp_path: Path) -> toolchain.Search:
    return toolchain.Search(project=find_project(), cache=tmp_path / "cache", codegen=(), is_survey=True)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of this run is large; most tests here are not about it."""
    monkeypatch.setattr(doctor, "find_environment", lambda _: tmp_path / "venv")
    return tmp_path / "venv"


def find_one(found: list[Diagnosis], name: str) -> Diagnosis:
    return next(item for item in found if item.name == name)


COMPILES = {
    "it-does": ("exit 0", "ok"),
    "its-library-is-cut": ("echo 'error: crate `core` required to be available' >&2; exit 1", "missing"),
    "it-is-killed": ("kill -9 $$", "missing"),
}


@pytest.fixture
def compiler(
    make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Name a compiler that answers, and does what a script says when it should compile."""

    def make(compiles: str) -> None:
        answers = fake_rustc(make_sysroot(tmp_path / "sysroot"))
        script = f'case "$*" in *cdylib*) {compiles};; *) {answers};; esac'
        monkeypatch.setenv(toolchain.RUSTC_VARIABLE, str(make_program("my-rustc", script)))

    return make


@pytest.mark.parametrize(("compiles", "state"), COMPILES.values(), ids=COMPILES)
def test_compiler_that_answers_is_tried(
    compiles: str, state: str, search: toolchain.Search, compiler: Callable[[str], None]
) -> None:
    compiler(compiles)
    found = doctor.examine(search)
    rust = find_one(found, f"rust: {toolchain.RUSTC_VARIABLE}")
    assert rust.state == state
    assert (rust.fix is None) == (state == "ok")
    assert rust.fix is None or rust.fix.startswith("install `")
    assert doctor.can_build(found) == (state == "ok")
    verdict = doctor.render(found).splitlines()[-1]
    assert verdict == f"the kernel can{'' if state == 'ok' else 'not'} be built here"


def test_core_that_is_yet_to_be_compiled_is_unchecked(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sysroot = make_sysroot(tmp_path / "sysroot", has_target=False)
    sources = sysroot / "lib/rustlib/src/rust/library/core/src/lib.rs"
    sources.parent.mkdir(parents=True)
    sources.touch()
    monkeypatch.setenv(toolchain.RUSTC_VARIABLE, str(make_program("my-rustc", fake_rustc(sysroot))))
    found = doctor.examine(search)
    rust = find_one(found, f"rust: {toolchain.RUSTC_VARIABLE}")
    assert rust.state == "unchecked"
    assert "is compiled on the first run" in rust.found


def test_network_is_not_promised(
    search: toolchain.Search, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program("nothing", "")
    monkeypatch.setattr(debian, "find_system", lambda: System("debian", "bookworm", "amd64"))
    found = doctor.examine(search)
    assert find_one(found, "rust: distribution").state == "unchecked"
    assert "if the network answers" in find_one(found, "rust: distribution").found
    assert not doctor.can_build(found)
    said = doctor.render(found).splitlines()[-1]
    assert said == "the kernel can be built here if what is `unchecked` works: it was not tried"


def test_environment_is_read_not_trusted(
    search: toolchain.Search, no_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_one(doctor.examine(search), "environment").state == "unchecked"
    no_environment.mkdir()
    assert find_one(doctor.examine(search), "environment").state == "ok"
    monkeypatch.setattr(doctor, "find_damage", lambda _: "thing.py")
    damaged = find_one(doctor.examine(search), "environment")
    assert (damaged.state, damaged.fix) == ("missing", f"rm -r {no_environment}")


@pytest.mark.parametrize(("state", "code"), [("unchecked", ExitCode.DONE), ("note", ExitCode.TOOLCHAIN)])
def test_exit_code_says_whether_a_build_would_be_tried(
    state: str, code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Diagnosis(name="rust: distribution", state=state, found="x")]
    monkeypatch.setattr("build_tools.cli.tools.examine", lambda _: found)
    assert main(["doctor"]) == code
