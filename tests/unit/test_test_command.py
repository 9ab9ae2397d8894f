from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import DownloadError, ExitCode, FindingsError, ReadOnlyError, ToolFailedError
from build_tools.base.project import Project, find_project
from build_tools.checks import execute, native
from build_tools.checks import run as testing
from build_tools.checks.execute import Lane
from build_tools.checks.machine import Machine
from build_tools.checks.outcomes import Outcome, Skipped
from build_tools.checks.pytests import NOTHING_COLLECTED, TestRun
from build_tools.checks.run import Skip, Step
from build_tools.cli import test as commands
from build_tools.cli.main import main
from build_tools.toolchain import debian
from build_tools.toolchain.debian import System
from tests.processes import is_alive, patience

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

PROJECT = find_project()
MACHINE = Machine(processors=2, speed=1.0, load=0.0)


def names(steps: list[Step | Skip]) -> list[str]:
    return [step.name for step in steps]


def test_plan_has_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_works", lambda *_: True)
    steps = testing.plan(PROJECT, is_fast=False, cargo="cargo")
    assert names(steps)[:3] == ["ruff check", "ruff format", "mypy"]
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


@pytest.mark.parametrize("cargo", ["cargo", None])
def test_fast_plan_says_that_it_leaves_out_the_native_tests(
    cargo: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "_works", lambda *_: True)
    steps = testing.plan(PROJECT, is_fast=True, cargo=cargo)
    (step,) = (step for step in steps if step.name == "cargo test")
    assert isinstance(step, Skip)
    assert (step.is_chosen, step.hint) == (True, "`cargo test` in kernel-src")


def test_check_without_its_tool_is_a_skip_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture, tmp_path: Path
) -> None:
    monkeypatch.setattr(testing, "_works", lambda argv, _: argv[1] != "clippy")
    steps = testing.plan(PROJECT, is_fast=True, cargo="cargo")
    skip = next(step for step in steps if step.name == "cargo clippy")
    (outcome,) = run_lane([skip], tmp_path)
    reason, fix = "`cargo clippy` does not run here", "rustup component add clippy"
    assert outcome.skips == (Skipped(name="cargo clippy", reason=reason, fix=fix),)
    assert capfd.readouterr().err == f"SKIP  cargo clippy: {reason}\n"


def test_machine_without_cargo_skips_its_lints() -> None:
    skips = [step for step in testing.plan(PROJECT, is_fast=False, cargo=None) if isinstance(step, Skip)]
    assert {(skip.name, skip.reason) for skip in skips} == {
        ("cargo fmt", "no `cargo` on PATH"),
        ("cargo fmt of the native twin", "no `cargo` on PATH"),
        ("cargo clippy", "no `cargo` on PATH"),
        ("cargo clippy of the native twin", "no `cargo` on PATH"),
    }


def run_lane(steps: Iterable[Step | Skip], folder: Path, *, machine: Machine = MACHINE) -> list[Outcome]:
    lane = Lane(steps, target=folder, machine=machine)
    lane.start()
    return lane.finish()


def python(name: str, code: str, folder: Path) -> Step:
    return Step(name=name, argv=(sys.executable, "-c", code), cwd=folder)


def test_steps_all_run_and_failures_are_shown(capfd: Capture, tmp_path: Path) -> None:
    steps = [
        python(name, f"print('said', '{name}'); raise SystemExit({code})", tmp_path)
        for name, code in {"one": 0, "two": 3, "three": 0}.items()
    ]
    outcomes = run_lane(steps, tmp_path)
    assert [(each.name, each.passed, each.failures) for each in outcomes] == [
        ("one", 1, ()),
        ("two", 0, ("two: ended with code 3",)),
        ("three", 1, ()),
    ]
    assert all(each.cpu > 0 and each.seconds > 0 for each in outcomes)
    said = capfd.readouterr().err
    assert "ok    one" in said
    assert "----  two\nsaid two\nFAIL  two" in said
    assert "said one" not in said


def test_damaged_folder_of_cargo_is_named_with_the_command(capfd: Capture, tmp_path: Path) -> None:
    said = "error[E0786]: found invalid metadata files for crate `extism_kernel`"
    run_lane([python("cargo test", f"print({said!r}); raise SystemExit(1)", tmp_path)], tmp_path / "target")
    assert f"may be damaged: `rm -r {tmp_path / 'target'}`, and run it again" in capfd.readouterr().err


def test_step_that_takes_too_long_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "STEP_SECONDS", 0.2)
    (outcome,) = run_lane([python("slow", "import time; time.sleep(60)", tmp_path)], tmp_path)
    assert outcome.failures == ("slow: took longer than 0 s and was ended",)


def test_step_that_is_no_program_fails(tmp_path: Path) -> None:
    (outcome,) = run_lane([Step(name="x", argv=("no-such-program",), cwd=tmp_path)], tmp_path)
    assert outcome.failures == ("x: `no-such-program` is not on PATH",)


def test_stopped_lane_ends_its_step_and_begins_no_other(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    lane = Lane([python("a", code, tmp_path), python("b", "", tmp_path)], target=tmp_path, machine=MACHINE)
    lane.start()
    deadline = time.monotonic() + patience(20)
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    lane.stop()
    assert lane.finish() == []
    assert not is_alive(int(pid.read_text()))


def test_bug_in_a_plan_is_not_lost(tmp_path: Path) -> None:
    broken = (Step(name=str(1 // number), argv=("true",), cwd=tmp_path) for number in (1, 0))
    with pytest.raises(ZeroDivisionError):
        run_lane(broken, tmp_path)


RUST = """
running 3 tests
test alloc::fits ... ok
test alloc::grows ... FAILED
test alloc::takes_minutes ... ignored, by hand

failures:
    alloc::grows

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
"""


def test_rust_tests_are_counted(tmp_path: Path) -> None:
    code = f"print({RUST!r}); print({RUST!r}.replace('FAILED', 'ok')); raise SystemExit(101)"
    (outcome,) = run_lane([python("cargo test", code, tmp_path)], tmp_path)
    assert outcome.passed == 2
    assert outcome.failures == ("cargo test: alloc::grows",)
    assert [skip.name for skip in outcome.skips] == ["cargo test: alloc::takes_minutes"] * 2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that decides how the parts of `test` end."""

    def decide(
        *,
        failed: list[str] | None = None,
        outcomes: tuple[Outcome, ...] = (),
        costs: tuple[tuple[float, str], ...] = (),
        pytest_code: int = 0,
        kernel: Exception | None = None,
    ) -> None:
        def make(_: object) -> None:
            if kernel is not None:
                raise kernel

        steps = [Step(name=name, argv=("false",), cwd=PROJECT.root) for name in failed or []]
        monkeypatch.setattr(commands, "adopt_orphans", lambda: False)
        monkeypatch.setattr(commands, "end_children", lambda *_, **__: {})
        monkeypatch.setattr(commands, "plan", lambda *_, **__: steps)
        monkeypatch.setattr(commands, "native_steps", lambda *_: [])
        monkeypatch.setattr(commands, "make_kernel", make)
        monkeypatch.setattr(
            commands, "run_pytest", lambda *_, **__: TestRun(code=pytest_code, outcomes=outcomes, costs=costs)
        )

    return decide


PASSED = Outcome(name="pytest tests/unit", passed=7)
SKIPPED = Outcome(name="pytest tests/host", skips=(Skipped(name="t", reason="no `x`", fix="`get x`"),))


def test_all_well_is_done(quick: Callable[..., None], capsys: Capture) -> None:
    quick(outcomes=(PASSED,))
    assert main(["test"]) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "8 passed, 0 failed, 0 skipped", "the kernel that was staged counts"
    assert " s of CPU time" in said[-2]


def test_costs_are_listed_if_asked_for(quick: Callable[..., None], capsys: Capture) -> None:
    quick(outcomes=(PASSED,), costs=((3.25, "tests/a.py::b"), (1.0, "tests/a.py::c")))
    assert main(["test", "--costs", "1"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("     3.2 s  tests/a.py::b\n\n")


def test_failed_check_is_told_although_the_tests_pass(quick: Callable[..., None], capsys: Capture) -> None:
    quick(failed=["ruff check"], outcomes=(PASSED,))
    assert main(["test"]) == ExitCode.FINDINGS
    said = capsys.readouterr().out
    assert "FAILED  ruff check: ended with code 1\n" in said
    assert said.endswith("\n8 passed, 1 failed, 0 skipped\n")


def test_failed_tests_are_findings(quick: Callable[..., None]) -> None:
    quick(pytest_code=1, outcomes=(Outcome(name="pytest", failures=("a",)),))
    assert main(["test"]) == ExitCode.FINDINGS


def test_skips_fail_only_if_that_was_asked(quick: Callable[..., None], capsys: Capture) -> None:
    quick(outcomes=(PASSED, SKIPPED))
    assert main(["test"]) == ExitCode.DONE
    assert "SKIPPED 1: no `x`\n  unchecked: t\n  fix: `get x`\n" in capsys.readouterr().out
    assert main(["test", "--strict"]) == ExitCode.FINDINGS


def test_what_fast_leaves_out_is_no_failure_even_if_skips_are(quick: Callable[..., None]) -> None:
    chosen = Skipped(name="t", reason="`--fast` leaves out tests", fix="`run it`", is_chosen=True)
    quick(outcomes=(PASSED, Outcome(name="left out", skips=(chosen,))))
    assert main(["test", "--fast", "--strict"]) == ExitCode.DONE


def test_kernel_that_cannot_be_made_fails_and_the_tests_still_run(
    quick: Callable[..., None], capsys: Capture
) -> None:
    quick(kernel=FindingsError(1, "finding[x]: y", where="module"), outcomes=(PASSED,))
    assert main(["test"]) == ExitCode.FINDINGS
    assert capsys.readouterr().out.endswith("\n7 passed, 1 failed, 0 skipped\n")


def test_interrupted_tests_are_interrupted(quick: Callable[..., None]) -> None:
    quick(pytest_code=-2)
    assert main(["test"]) == ExitCode.INTERRUPTED


def test_expression_that_matches_nothing_is_usage(quick: Callable[..., None], capsys: Capture) -> None:
    quick(pytest_code=NOTHING_COLLECTED)
    assert main(["test", "-k", "nonsense"]) == ExitCode.USAGE
    assert "no test matches `-k nonsense`" in capsys.readouterr().err


def test_expression_runs_no_other_check(quick: Callable[..., None], capsys: Capture) -> None:
    quick(failed=["ruff check"], outcomes=(PASSED,))
    assert main(["test", "-k", "x"]) == ExitCode.DONE
    assert "ruff" not in capsys.readouterr().out


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
    (outcome,) = run_lane(steps, tmp_path)
    assert outcome.failures == ("native tests cannot be compiled: ended with code 1",)
    assert "error[E0599]: no method" in capfd.readouterr().err


def test_native_tests_become_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = [native.NativeTest(name="shadow", program=tmp_path / "shadow")]
    monkeypatch.setattr(testing, "compile_native_tests", lambda *_: made)
    (step,) = testing.native_steps(PROJECT, tmp_path)
    assert isinstance(step, Step)
    assert step.argv == (str(tmp_path / "shadow"),)


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
