from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import DownloadError, ExitCode, FindingsError, ReadOnlyError, ToolFailedError
from build_tools.base.project import Project, find_project
from build_tools.checks import native
from build_tools.checks import run as testing
from build_tools.checks.run import Skip, Step
from build_tools.cli import kernel as commands
from build_tools.cli.main import main
from build_tools.toolchain import debian
from build_tools.toolchain.debian import System

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

PROJECT = find_project()


def names(steps: list[Step | Skip]) -> list[str]:
    return [step.name for step in steps]


def test_plan_has_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_works", lambda *_: True)
    steps = testing.plan(PROJECT, is_fast=False, cargo="cargo")
    assert names(steps)[:3] == ["ruff check", "ruff format", "mypy build_tools extism_kernel_pkg"]
    assert names(steps)[-5:] == [
        "cargo fmt",
        "cargo fmt of the native twin",
        "cargo clippy",
        "cargo clippy of the native twin",
        "cargo test",
    ]
    clippy = next(step for step in steps if step.name == "cargo clippy")
    assert isinstance(clippy, Step)
    assert clippy.argv[-2:] == ("-D", "warnings")
    assert clippy.cwd == PROJECT.kernel_src
    twin = next(step for step in steps if step.name == "cargo clippy of the native twin")
    assert isinstance(twin, Step)
    assert set(twin.argv) - set(clippy.argv) == {
        f"--manifest-path={PROJECT.root / 'tests' / 'native' / 'Cargo.toml'}"
    }


def test_fast_plan_leaves_out_the_native_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_works", lambda *_: True)
    assert "cargo test" not in names(testing.plan(PROJECT, is_fast=True, cargo="cargo"))


def test_check_without_its_tool_is_a_skip_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture, tmp_path: Path
) -> None:
    monkeypatch.setattr(testing, "_works", lambda argv, _: argv[1] != "clippy")
    steps = testing.plan(PROJECT, is_fast=True, cargo="cargo")
    skip = next(step for step in steps if step.name == "cargo clippy")
    assert testing.run_steps([skip], target=tmp_path) == []
    said = capfd.readouterr().err
    assert said == (
        "SKIP  cargo clippy: `cargo clippy` does not run here; mend: rustup component add clippy\n"
    )


def test_machine_without_cargo_skips_its_lints() -> None:
    skips = [step for step in testing.plan(PROJECT, is_fast=False, cargo=None) if isinstance(step, Skip)]
    assert {(skip.name, skip.reason) for skip in skips} == {
        ("cargo fmt", "no `cargo` on PATH"),
        ("cargo fmt of the native twin", "no `cargo` on PATH"),
        ("cargo clippy", "no `cargo` on PATH"),
        ("cargo clippy of the native twin", "no `cargo` on PATH"),
    }


def test_steps_all_run_and_failures_are_counted(capfd: Capture, tmp_path: Path) -> None:
    steps = [
        Step(name=name, argv=(sys.executable, "-c", f"raise SystemExit({code})"), cwd=tmp_path)
        for name, code in {"one": 0, "two": 3, "three": 0}.items()
    ]
    assert testing.run_steps(steps, target=tmp_path) == ["two"]
    said = capfd.readouterr().err
    assert "ok    one" in said
    assert "FAIL  two" in said
    assert "ok    three" in said


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that decides how the parts of `test` end."""

    def decide(
        *, failed: list[str] | None = None, pytest_code: int = 0, kernel: Exception | None = None
    ) -> None:
        def make(_: object) -> None:
            if kernel is not None:
                raise kernel

        monkeypatch.setattr(commands, "plan", lambda *_, **__: [])
        monkeypatch.setattr(commands, "native_steps", lambda *_: [])
        monkeypatch.setattr(commands, "run_steps", lambda *_, **__: list(failed or []))
        monkeypatch.setattr(commands, "make_kernel", make)
        monkeypatch.setattr(commands, "run_pytest", lambda *_, **__: pytest_code)

    return decide


def test_all_well_is_done(quick: Callable[..., None]) -> None:
    quick()
    assert main(["test"]) == ExitCode.DONE


def test_failed_check_is_told_although_the_tests_pass(quick: Callable[..., None], capsys: Capture) -> None:
    quick(failed=["ruff check"])
    assert main(["test"]) == ExitCode.FINDINGS
    assert capsys.readouterr().err.endswith("failed before pytest: ruff check\n")


def test_failed_tests_are_findings(quick: Callable[..., None]) -> None:
    quick(pytest_code=1)
    assert main(["test"]) == ExitCode.FINDINGS


def test_kernel_that_cannot_be_made_fails_and_the_tests_still_run(
    quick: Callable[..., None], capsys: Capture
) -> None:
    quick(kernel=FindingsError(1, "finding[x]: y", where="module"))
    assert main(["test"]) == ExitCode.FINDINGS
    assert capsys.readouterr().err.endswith("failed before pytest: kernel\n")


def test_interrupted_tests_are_interrupted(quick: Callable[..., None]) -> None:
    quick(pytest_code=-2)
    assert main(["test"]) == ExitCode.INTERRUPTED


def test_expression_that_matches_nothing_is_usage(quick: Callable[..., None], capsys: Capture) -> None:
    quick(pytest_code=testing.PYTEST_NOTHING_COLLECTED)
    assert main(["test", "-k", "nonsense"]) == ExitCode.USAGE
    assert "no test matches `-k nonsense`" in capsys.readouterr().err


def test_expression_runs_no_other_check(quick: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    quick()

    def never(*_: object, **__: object) -> list[str]:
        raise AssertionError

    monkeypatch.setattr(commands, "run_steps", never)
    assert main(["test", "-k", "x"]) == ExitCode.DONE


SYSTEM = System("debian", "bookworm", "amd64")


@pytest.mark.parametrize("name", ["", "extism_kernel_pkg"], ids=["checkout", "package"])
def test_checkout_that_cannot_be_written_is_named_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    project.package.mkdir()
    testing.check_writable(project)
    closed = tmp_path / name
    monkeypatch.setattr(os, "access", lambda path, _: path != closed)  # root may write everywhere
    with pytest.raises(ReadOnlyError, match="the tests write into the checkout") as caught:
        testing.check_writable(project)
    assert caught.value.where == str(closed)
    assert "cp -r" in str(caught.value.hint)


def test_native_tests_need_a_linker(
    make_program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_program("nothing", "")
    monkeypatch.setattr(debian, "find_system", lambda: SYSTEM)
    (step,) = testing.native_steps(PROJECT, tmp_path)
    assert isinstance(step, Skip)
    assert "no `cc` to link" in step.reason


def test_native_tests_without_network_are_a_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object) -> str:
        raise DownloadError("could not be fetched", hint="try again")

    monkeypatch.setattr(testing, "compile_native_tests", no_network)
    assert testing.native_steps(PROJECT, tmp_path) == [
        Skip(name="native tests", reason="could not be fetched", hint="try again")
    ]


def test_native_tests_that_do_not_compile_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Capture
) -> None:
    def broken(*_: object) -> str:
        raise ToolFailedError("rustc", 1, "error[E0599]: no method")

    monkeypatch.setattr(testing, "compile_native_tests", broken)
    steps = testing.native_steps(PROJECT, tmp_path)
    assert testing.run_steps(steps, target=tmp_path) == ["native tests cannot be compiled"]
    assert "error[E0599]: no method" in capfd.readouterr().err


def test_native_tests_become_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = [native.NativeTest(name="shadow", program=tmp_path / "shadow")]
    monkeypatch.setattr(testing, "compile_native_tests", lambda *_: made)
    (step,) = testing.native_steps(PROJECT, tmp_path)
    assert isinstance(step, Step)
    assert step.argv == (str(tmp_path / "shadow"), "--quiet")


def test_arguments_reach_the_suite(monkeypatch: pytest.MonkeyPatch, capfd: Capture, tmp_path: Path) -> None:
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    suite = tmp_path / "tests" / "conformance" / "extism_kernel_conformance"
    suite.mkdir(parents=True)
    (suite / "__main__.py").write_text(script, encoding="utf-8")

    def here() -> argparse.Namespace:
        return type(PROJECT)(tmp_path)  # type: ignore[return-value]  # a project is all that is asked for

    monkeypatch.setattr("build_tools.cli.tools.find_project", here)
    assert main(["conformance", "run", "--help"]) == 0
    assert json.loads(capfd.readouterr().out) == ["run", "--help"]
