"""What `python -m build_tools test` adds to pytest: records for the closing table, and no child left behind.

Loaded with `-p`, in pytest and in each of its workers. It does nothing unless `EXTISM_KERNEL_TEST_RECORDS`
names a folder. There `reports.jsonl` gets a line for each report that counts, and `running-PID` names the
test that a worker is in since that file's time. Where `EXTISM_KERNEL_TEST_FAST` is set, too, tests are left
out as `build_tools.checks.fast` says; `left-out.json` names their groups, and each that is slow.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from build_tools.base.children import adopt_orphans, end_children, find_children
from build_tools.base.files import write_whole
from build_tools.checks.fast import SLOW, find_left_out

if TYPE_CHECKING:
    from collections.abc import Generator

RECORDS_VARIABLE = "EXTISM_KERNEL_TEST_RECORDS"
REPORTS = "reports.jsonl"
RUNNING = "running-"
LEFT_OUT = "left-out.json"
FAST_VARIABLE = "EXTISM_KERNEL_TEST_FAST"
CPU = "extism_kernel_cpu"
# How long a child that is ending anyway may take to end.
PATIENCE_SECONDS = 3.0


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record if a folder was named; workers look after their tests, their parent writes reports."""
    named = os.environ.get(RECORDS_VARIABLE)
    if not named:
        return
    folder = Path(named)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(folder), "extism-kernel-recorder")
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        config.pluginmanager.register(Guardian(folder), "extism-kernel-guardian")
        if os.environ.get(FAST_VARIABLE):
            config.pluginmanager.register(Chooser(folder), "extism-kernel-chooser")
        # Who runs the tests in the background may have it ignored; some tests send it to themselves.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class Recorder:
    """Writes down how each test ended, in the process that hears of all."""

    def __init__(self, folder: Path) -> None:
        self.file = (folder / REPORTS).open("a", encoding="utf-8", buffering=1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one phase of a test; workers that died are reported here too."""
        self._write(report.nodeid, report.when, report, report.duration, dict(report.user_properties))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write a module that could not be collected, or was skipped."""
        if report.outcome != "passed":
            self._write(report.nodeid, "collect", report, 0.0, {})

    def _write(
        self,
        name: str,
        when: str | None,
        report: pytest.TestReport | pytest.CollectReport,
        seconds: float,
        properties: dict[str, Any],
    ) -> None:
        outcome, reason = report.outcome, ""
        if hasattr(report, "wasxfail"):  # an expected failure is what was wanted
            outcome = "passed" if outcome == "skipped" else outcome
        elif outcome == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        line = {
            "test": name,
            "when": when,
            "outcome": outcome,
            "reason": reason.removeprefix("Skipped: "),
            "seconds": seconds,
            "cpu": properties.get(CPU, 0.0) if when == "teardown" else 0.0,
        }
        self.file.write(json.dumps(line) + "\n")


class Chooser:
    """Leaves out what `--fast` leaves out. Each worker collects tests and comes to the same list."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEFT_OUT
        self.groups: set[str] = set()

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Keep pytest from importing the files of a group, which takes longer than many a test."""
        path = collection_path.relative_to(config.rootpath).as_posix()
        group = find_left_out(f"{path}/" if collection_path.is_dir() else path)
        if group is None:
            return None
        self.groups.add(group)
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect the slow tests of what is collected, and write down all that is left out."""
        slow = [item for item in items if item.get_closest_marker(SLOW) is not None]
        names = [*sorted(self.groups), *(item.nodeid for item in slow)]
        write_whole(self.path, json.dumps(names).encode())
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


class Guardian:
    """Counts the CPU time of each test, and makes a test that leaves a child fail."""

    def __init__(self, folder: Path) -> None:
        self.running = folder / f"{RUNNING}{os.getpid()}"
        self.has_orphans = adopt_orphans()
        self.cpu = 0.0
        self.known: set[int] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Say which test is being run."""
        self.running.write_text(item.nodeid, encoding="utf-8")
        self.cpu = _cpu_time()
        self._look()
        try:
            return (yield)
        finally:
            self.running.unlink(missing_ok=True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Remember the children that fixtures started; they may be for more tests than this one."""
        self._look()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Fail if a child that was started since the fixtures were ready still runs."""
        result = yield
        if self.has_orphans and (left := set(find_children(os.getpid())) - self.known):
            ended = end_children(left, patience=PATIENCE_SECONDS)
            if ended:
                names = "; ".join(f"{pid}: {name}" for pid, name in sorted(ended.items()))
                pytest.fail(f"the test left {len(ended)} process(es), now killed: {names}", pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to the last report of a test its CPU time, that of its children included."""
        if call.when == "teardown":
            item.user_properties.append((CPU, _cpu_time() - self.cpu))
        return (yield)

    def _look(self) -> None:
        self.known = set(find_children(os.getpid())) if self.has_orphans else set()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """End what is left, of fixtures too."""
        if self.has_orphans:
            end_children(set(find_children(os.getpid())), patience=0.0)


def _cpu_time() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
