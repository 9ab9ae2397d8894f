"""pytest in worker processes: a test that hangs, crashes or leaves a child costs that test, never the run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import ToolTimeoutError
from build_tools.base.process import Measured, run_measured
from build_tools.checks.fast import explain
from build_tools.checks.machine import FACTOR_VARIABLE
from build_tools.checks.outcomes import Outcome, Skipped, find_fix
from build_tools.checks.pytest_plugin import FAST_VARIABLE, LEFT_OUT, RECORDS_VARIABLE, REPORTS, RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from build_tools.checks.machine import Machine

PLUGIN = "build_tools.checks.pytest_plugin"
BYTECODE_VARIABLE = "PYTHONPYCACHEPREFIX"
BYTECODE = Path(".pytest_cache", "bytecode")
NOTHING_COLLECTED = 5
FAILED_CODES = {0, 1, NOTHING_COLLECTED}
MOST_WORKERS = 8
LOOK_SECONDS = 1.0
# The folder of a test file gives the line of the table; the longest that fits.
GROUPS = (
    "tests/unit",
    "tests/integration/packaging",
    "tests/integration",
    "tests/host",
    "tests/native",
    "tests/conformance",
    "tests/examples",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which tests to run: all, those that pytest's `-k` selects, or what `--fast` does not leave out."""

    expression: str | None = None
    is_fast: bool = False

    def arguments(self) -> list[str]:
        """Return them as pytest's command line has them."""
        return [] if self.expression is None else ["-k", self.expression]

    def variables(self) -> dict[str, str]:
        """Return what our plugin takes from the environment."""
        return {FAST_VARIABLE: "1"} if self.is_fast else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds before something is ended, times the machine's factor; each limit contains the one before.

    pytest-timeout ends a test and with it the worker; where not even that runs, its worker is killed from
    outside; where no test ends at all, the run.
    """

    test: float = 300.0
    worker: float = 360.0
    silence: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """How pytest ended, and a line for the table for each group of tests.

    `costs` has the CPU seconds of each test with those of its children, the most expensive first; a fixture
    counts for the test that needed it first.
    """

    __test__ = False  # pytest takes a class of this name for tests

    code: int
    outcomes: tuple[Outcome, ...]
    costs: tuple[tuple[float, str], ...] = ()


def run_pytest(root: Path, selection: Selection, machine: Machine, limits: Limits | None = None) -> TestRun:
    """Run the tests of a checkout, their progress going to our output."""
    limits = limits or Limits()
    workers = min(machine.processors, MOST_WORKERS)
    argv = [sys.executable, "-m", "pytest", "-p", PLUGIN, f"--numprocesses={workers}", "--dist=worksteal"]
    argv += ["--max-worker-restart=1000", f"--timeout={limits.test * machine.factor:.1f}"]
    with tempfile.TemporaryDirectory(prefix="extism-kernel-test-") as name:
        records = Path(name)
        watch = Watch(records, worker=limits.worker * machine.factor, silence=limits.silence * machine.factor)
        env = {RECORDS_VARIABLE: name, FACTOR_VARIABLE: str(machine.factor), **_keep_bytecode(root)}
        env |= selection.variables()
        try:
            done = run_measured([*argv, *selection.arguments()], cwd=root, env=env, watch=watch.look)
        except ToolTimeoutError as error:
            done = Measured(code=1, seconds=watch.age(), cpu=0.0)
            return TestRun(code=1, outcomes=(*read_outcomes(records), _end_of_run(error.message, done)))
        finally:
            _forget_bytecode(root)
        outcomes, costs = (*read_outcomes(records), *read_left_out(records)), read_costs(records)
    has_failure = any(each.failures for each in outcomes)
    if done.code not in FAILED_CODES or (done.code == 1 and not has_failure):
        outcomes = (*outcomes, _end_of_run(f"pytest ended with code {done.code}", done))
    return TestRun(code=done.code, outcomes=outcomes, costs=costs)


def _keep_bytecode(root: Path) -> dict[str, str]:
    """Return the variables that make Python keep what it compiles beside pytest's cache.

    The tests start some thousand processes; where the user has it switched off, each compiles all it imports.
    """
    if os.environ.get(BYTECODE_VARIABLE):
        return {}
    return {BYTECODE_VARIABLE: str(root / BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}


def _forget_bytecode(root: Path) -> None:
    """Remove what was compiled of sources in temporary folders, which no later run has."""
    temporary = Path(tempfile.gettempdir()).resolve()
    shutil.rmtree(root / BYTECODE / temporary.relative_to(temporary.anchor), ignore_errors=True)


def _end_of_run(said: str, done: Measured) -> Outcome:
    return Outcome(name="pytest itself", failures=(f"pytest: {said}",), seconds=done.seconds, cpu=done.cpu)


class Watch:
    """Kills a worker that is in one test for too long; a worker cannot always do that by itself.

    One that holds Python's lock, or that was stopped, runs no timer of its own.
    """

    def __init__(self, records: Path, *, worker: float, silence: float) -> None:
        self.records = records
        self.worker = worker
        self.silence = silence
        self.began = self.looked = self.heard = time.time()
        self.size = 0

    def age(self) -> float:
        """Return the seconds since the run began."""
        return time.time() - self.began

    def look(self) -> None:
        """Kill workers that are too long in one test. Raises `ToolTimeoutError` if nothing happens at all."""
        now = time.time()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        for path in self.records.glob(f"{RUNNING}*"):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > self.worker:
                    path.unlink()
                    os.kill(int(path.name.removeprefix(RUNNING)), signal.SIGKILL)
        reports = self.records / REPORTS
        size = reports.stat().st_size if reports.is_file() else 0
        if size != self.size:
            self.size, self.heard = size, now
        elif now - self.heard > self.silence:
            raise ToolTimeoutError(f"no test ended for {now - self.heard:.0f} s", where="pytest")


@dataclass(slots=True)
class _Test:
    """What the reports say of one test."""

    outcome: str = ""
    reason: str = ""
    seconds: float = 0.0
    cpu: float = 0.0


def read_outcomes(records: Path) -> tuple[Outcome, ...]:
    """Return a line for each group of tests from what the plugin wrote; a cut last line is left out."""
    groups: dict[str, dict[str, _Test]] = defaultdict(dict)
    for name, test in _read_tests(records).items():
        groups[find_group(name)][name] = test
    return tuple(_sum(group, groups[group]) for group in sorted(groups))


def read_left_out(records: Path) -> tuple[Outcome, ...]:
    """Return a line for what was not run by choice, if anything was not."""
    path = records / LEFT_OUT
    if not path.is_file():
        return ()
    return (Outcome(name="left out", skips=tuple(map(explain, json.loads(path.read_bytes())))),)


def read_costs(records: Path) -> tuple[tuple[float, str], ...]:
    """Return the CPU seconds of each test, the most expensive first."""
    return tuple(sorted(((test.cpu, name) for name, test in _read_tests(records).items()), reverse=True))


def _read_tests(records: Path) -> dict[str, _Test]:
    tests: dict[str, _Test] = defaultdict(_Test)
    path = records / REPORTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        with contextlib.suppress(ValueError):
            report = json.loads(line)
            test = tests[report["test"]]
            test.seconds += report["seconds"]
            test.cpu += report["cpu"]
            # The worst phase decides; the call comes between two that mostly pass.
            if report["outcome"] == "failed" or not test.outcome or test.outcome == "passed":
                test.outcome, test.reason = report["outcome"], report["reason"]
    return tests


def find_group(name: str) -> str:
    """Return the line of the table that a test belongs to."""
    return next((group for group in GROUPS if name.startswith(f"{group}/")), "tests")


def _sum(group: str, tests: dict[str, _Test]) -> Outcome:
    def select(outcome: str) -> Iterable[tuple[str, _Test]]:
        return ((name, test) for name, test in tests.items() if test.outcome == outcome)

    return Outcome(
        name=f"pytest {group}",
        passed=len(list(select("passed"))),
        failures=tuple(name for name, _ in select("failed")),
        skips=tuple(
            Skipped(name=name, reason=test.reason, fix=find_fix(test.reason))
            for name, test in select("skipped")
        ),
        seconds=sum(test.seconds for test in tests.values()),
        cpu=sum(test.cpu for test in tests.values()),
    )
