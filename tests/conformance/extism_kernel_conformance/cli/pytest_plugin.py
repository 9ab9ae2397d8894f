"""The pytest plug-in: `pytest --kernel-conformance FILE --kernel-adapter NAME` makes every case a test.

A known failure is an xfail, an unmet need a skip, and whatever is red fails with the text a run would print.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_conformance.adapter.find import (
    Adapter,
    adapter_from_command,
    find_adapters,
    select_adapters,
)
from extism_kernel_conformance.base.errors import SuiteError
from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.cases.load import Case, load_cases
from extism_kernel_conformance.run.report import Line, case_line, is_red
from extism_kernel_conformance.run.runner import (
    ConfigurationBrokenError,
    ConfigurationRun,
    ConfigurationSkippedError,
)
from extism_kernel_conformance.run.settings import Settings, parse_level, select_cases
from extism_kernel_conformance.run.suite_run import load_adapter_list
from extism_kernel_conformance.wasm.module import Kernel, read_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_conformance.run.result import Result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; without `--kernel-conformance` the plug-in does nothing."""
    group = parser.getgroup("Extism kernel conformance")
    group.addoption(
        "--kernel-conformance",
        action="append",
        default=[],
        metavar="FILE",
        help="judge this kernel, case by case",
    )
    group.addoption(
        "--kernel-adapter", action="append", default=[], metavar="NAME", help="on this configuration"
    )
    group.addoption("--kernel-command", metavar="COMMAND", help="on the adapter with this command line")
    group.addoption("--kernel-adapters", action="append", default=[], metavar="DIR", help="more adapters")
    group.addoption("--kernel-cases", metavar="DIR", help="cases of another folder")
    group.addoption(
        "--kernel-suite-level", metavar="N.N", help="leave out cases newer than this minor version"
    )
    group.addoption("--kernel-skip-slow", action="store_true", help="leave out slow cases")


def pytest_collection(session: pytest.Session) -> None:
    """Read kernels, cases and adapters before anything is collected, so that errors are told as usage."""
    config = session.config
    if config.getoption("--kernel-conformance"):
        try:
            config.stash[_PLAN] = list(_plan(config))
        except SuiteError as error:
            raise pytest.UsageError(error.render()) from None


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Put the cases behind what pytest itself collects."""
    outcome: Any = yield
    plan = collector.config.stash.get(_PLAN, [])
    if isinstance(collector, pytest.Session) and plan:
        report = outcome.get_result()
        for run, cases in plan:
            collected = ConformanceCollector.from_parent(
                collector, name=run.adapter.name, run=run, cases=cases
            )
            report.result.append(collected)


class ConformanceCollector(pytest.Collector):
    """One configuration; its items are the lint and the cases."""

    def __init__(self, *, run: _LazyRun, cases: list[Case], **kwargs: Any) -> None:  # noqa: ANN401 - pytest's own
        super().__init__(**kwargs)
        self.run = run
        self.cases = cases

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the lint, then the cases."""
        yield LintItem.from_parent(self, name="lint")
        for case in self.cases:
            yield CaseItem.from_parent(self, name=case.id, case=case)

    def teardown(self) -> None:
        """End the adapter."""
        self.run.close()


class _ConformanceItem(pytest.Item):
    """What lint and cases have in common."""

    @property
    def run(self) -> _LazyRun:
        assert isinstance(self.parent, ConformanceCollector)
        return self.parent.run

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the test after the configuration and the case."""
        return suite_root(), None, f"{self.run.adapter.name}: {self.name}"

    def judge(self, result: Result) -> None:
        """Turn a verdict into what pytest knows."""
        line = case_line(result)
        if is_red(line):
            pytest.fail(_text(line), pytrace=False)
        if line["verdict"] == "xfail":
            pytest.xfail(line["why"])
        if line["verdict"] != "pass":
            pytest.skip(line.get("message") or _text(line))


class LintItem(_ConformanceItem):
    """The checks of the adapter itself."""

    def runtest(self) -> None:
        """Run all checks; they fail together, because no case is judged by a broken adapter."""
        failed = [line for line in map(case_line, self.run.live().lint()) if is_red(line)]
        if failed:
            self.run.broken = f"the adapter fails its lint: {', '.join(line['id'] for line in failed)}"
            pytest.fail("\n".join(map(_text, failed)), pytrace=False)


class CaseItem(_ConformanceItem):
    """One case."""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:  # noqa: ANN401 - pytest's own
        super().__init__(**kwargs)
        self.case = case
        self.user_properties.append(("spec", " ".join(case.spec)))

    def runtest(self) -> None:
        """Play the case."""
        (result,) = self.run.live().run([self.case])
        self.judge(result)


class _LazyRun:
    """Starts the configuration when its first test runs, so that collecting costs nothing."""

    def __init__(self, adapter: Adapter, kernels: list[Kernel], settings: Settings) -> None:
        self.adapter = adapter
        self.broken = ""
        self._kernels = kernels
        self._settings = settings
        self._run: ConfigurationRun | None = None

    def live(self) -> ConfigurationRun:
        """Return the open configuration; skip or fail the test where there can be none."""
        if self.broken:
            pytest.fail(self.broken, pytrace=False)
        if self._run is None:
            try:
                run = ConfigurationRun(
                    self.adapter, self._kernels, self._settings, load_adapter_list(self.adapter)
                )
                run.open()
            except ConfigurationSkippedError as skip:
                pytest.skip(str(skip))
            except ConfigurationBrokenError as fault:
                self.broken = str(fault)
                pytest.fail(self.broken, pytrace=False)
            self._run = run
        return self._run

    def close(self) -> None:
        """End the adapter if it was started."""
        if self._run is not None:
            self._run.close()


_PLAN = pytest.StashKey[list[tuple[_LazyRun, list[Case]]]]()


def _plan(config: pytest.Config) -> Iterator[tuple[_LazyRun, list[Case]]]:
    level = config.getoption("--kernel-suite-level")
    settings = Settings(
        level=None if level is None else parse_level(level), skip_slow=config.getoption("--kernel-skip-slow")
    )
    kernels = [read_kernel(Path(name)) for name in config.getoption("--kernel-conformance")]
    folder = config.getoption("--kernel-cases")
    cases = select_cases(load_cases(Path(folder) if folder else suite_root() / "cases"), settings)
    command = config.getoption("--kernel-command")
    names = config.getoption("--kernel-adapter")
    adapters = [adapter_from_command(command)] if command else []
    if names or not adapters:
        folders = [Path(name) for name in config.getoption("--kernel-adapters")]
        adapters += select_adapters(names or ["all"], find_adapters(folders), settings.profile)
    for adapter in adapters:
        yield _LazyRun(adapter, kernels, settings), cases


def _text(line: Line) -> str:
    keys = ("id", "title", "case_why", "verdict", "step", "call", "expected", "got", "fault", "message")
    return "\n".join(f"{key}: {line[key]}" for key in keys if line.get(key))
