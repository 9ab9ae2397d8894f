"""The test runner, on tests that hang, crash or leave something behind: each costs only itself."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from build_tools.base.children import adopt_orphans, end_children, find_children
from build_tools.base.errors import ToolTimeoutError
from build_tools.checks.fast import KEPT
from build_tools.checks.fast import LEFT_OUT as LEFT_OUT_GROUPS
from build_tools.checks.machine import FACTOR_VARIABLE, Machine
from build_tools.checks.outcomes import Skipped
from build_tools.checks.pytest_plugin import REPORTS
from build_tools.checks.pytests import (
    BYTECODE,
    BYTECODE_VARIABLE,
    NOTHING_COLLECTED,
    Limits,
    Selection,
    Watch,
    find_group,
    read_costs,
    read_outcomes,
    run_pytest,
)
from tests.processes import is_alive

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "test_run"
# As slow as the run that this test is part of found the machine to be.
MACHINE = Machine(processors=2, speed=1 / float(os.environ.get(FACTOR_VARIABLE, "1")), load=0.0)
ALONE = dataclasses.replace(MACHINE, processors=1)
LIMITS = Limits(test=5.0, worker=12.0, silence=120.0)
HARMFUL = {
    "test_sleeps_for_ever",
    "test_is_stopped",
    "test_kills_its_interpreter",
    "test_exits",
    "test_leaves_a_child",
    "test_leaves_a_daemon",
    "test_fails",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the harmful tests, as a checkout has them."""
    root = tmp_path / "project"
    (root / "tests" / "unit").mkdir(parents=True)
    shutil.copyfile(DATA / "faults.py", root / "tests" / "unit" / "test_faults.py")
    settings = '[tool.pytest.ini_options]\ntimeout_method = "thread"\ntestpaths = ["tests"]\n'
    (root / "pyproject.toml").write_text(settings, encoding="utf-8")
    for name in list(os.environ):
        if name.startswith("PYTEST_"):  # this run's own
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return root


def test_harmful_tests_cost_themselves_and_leave_no_process(project: Path) -> None:
    assert adopt_orphans() or not sys.platform.startswith("linux")
    others = set(find_children(os.getpid()))
    run = run_pytest(project, Selection(), MACHINE, LIMITS)
    (outcome,) = run.outcomes
    failed = {name.rpartition("::")[2] for name in outcome.failures}
    assert failed == HARMFUL
    assert outcome.name == "pytest tests/unit"
    assert outcome.passed == 22, "the first, the expected failure, and twenty after the harmful ones"
    assert outcome.skips == (
        Skipped(
            name="tests/unit/test_faults.py::test_skips",
            reason="no `spoon`; install it with `apt-get install spoon`",
            fix="`apt-get install spoon`",
        ),
    )
    assert run.code == 1
    pids = [int(line) for line in (project / "tests" / "unit" / "pids").read_text().split()]
    assert len(pids) == 3
    # What a worker that was killed had started became ours, as it becomes the command's.
    end_children(set(find_children(os.getpid())) - others, patience=0.0)
    assert not [pid for pid in pids if is_alive(pid)]


def test_run_without_tests_says_so(project: Path) -> None:
    run = run_pytest(project, Selection(expression="nonsense"), ALONE, LIMITS)
    assert run.code == NOTHING_COLLECTED
    assert run.outcomes == ()


def test_tests_can_be_interrupted_where_the_run_cannot(project: Path) -> None:
    (project / "tests" / "unit" / "test_faults.py").write_text(
        "import os, signal, pytest\n"
        "def test_interrupt():\n"
        "    with pytest.raises(KeyboardInterrupt):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n",
        encoding="utf-8",
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = run_pytest(project, Selection(), ALONE, LIMITS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(each.passed, each.failures) for each in run.outcomes] == [(1, ())]


def test_what_is_compiled_is_kept_where_the_user_keeps_none(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BYTECODE_VARIABLE, raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for _ in range(2):
        run = run_pytest(project, Selection(expression="test_passes_first"), ALONE, LIMITS)
        assert [each.passed for each in run.outcomes] == [1]
        kept = project / BYTECODE
        # Of Python's own library: this checkout may itself lie in a temporary folder.
        assert list(kept.rglob(f"argparse.{sys.implementation.cache_tag}.pyc"))
        assert not list((kept / project.relative_to("/")).rglob("*.pyc")), "no later run has that folder"
    assert not list(project.rglob("__pycache__"))


def test_module_that_does_not_load_fails(project: Path) -> None:
    (project / "tests" / "unit" / "test_faults.py").write_text(
        "import nothing_of_that_name\n", encoding="utf-8"
    )
    run = run_pytest(project, Selection(), ALONE, LIMITS)
    assert run.outcomes[0].failures == ("tests/unit/test_faults.py",)


def test_pytest_that_does_not_start_fails(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nminversion = '99'\n", encoding="utf-8"
    )
    run = run_pytest(project, Selection(), ALONE, LIMITS)
    assert [each.failures for each in run.outcomes] == [(f"pytest: pytest ended with code {run.code}",)]


def test_selection_is_given_to_pytest() -> None:
    assert Selection().arguments() == []
    assert Selection(expression="a or b").arguments() == ["-k", "a or b"]


def test_fast_run_leaves_out_groups_and_says_which(project: Path) -> None:
    tests = {
        "tests/unit/test_faults.py": "import pytest\ndef test_a(): ...\n@pytest.mark.slow\ndef test_b(): 0\n",
        "tests/host/test_host.py": "def test_c(): pass\n",
        "tests/conformance/tests/test_cases.py": "def test_d(): pass\n",
        "tests/conformance/tests/test_other.py": "def test_e(): pass\n",
    }
    for name, text in tests.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    settings = "[tool.pytest.ini_options]\nmarkers = ['slow']\naddopts = ['--import-mode=importlib']\n"
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    run = run_pytest(project, Selection(is_fast=True), MACHINE, LIMITS)
    assert [(each.name, each.passed) for each in run.outcomes] == [
        ("pytest tests/conformance", 1),
        ("pytest tests/unit", 1),
        ("left out", 0),
    ]
    assert {(skip.name, skip.fix) for skip in run.outcomes[-1].skips} == {
        ("tests/unit/test_faults.py::test_b", "`python -m build_tools test -k slow`"),
        ("tests/host/", "`python -m build_tools test -k host`"),
        ("tests/conformance/tests/", "`python -m build_tools test -k conformance`"),
    }
    assert all(skip.is_chosen and "`--fast` leaves out " in skip.reason for skip in run.outcomes[-1].skips)
    whole = run_pytest(project, Selection(), MACHINE, LIMITS)
    assert [each.passed for each in whole.outcomes] == [2, 1, 2]


def test_what_fast_leaves_out_exists() -> None:
    """A file that moved would be in again."""
    assert [name for name in (*LEFT_OUT_GROUPS, *KEPT) if not (ROOT / name).exists()] == []


def test_silent_run_is_ended(tmp_path: Path) -> None:
    watch = Watch(tmp_path, worker=1000.0, silence=5.0)
    watch.looked = 0.0
    watch.look()
    watch.looked, watch.heard = 0.0, time.time() - 6
    with pytest.raises(ToolTimeoutError, match="no test ended for 6 s"):
        watch.look()


def test_run_with_news_goes_on(tmp_path: Path) -> None:
    watch = Watch(tmp_path, worker=1000.0, silence=5.0)
    watch.looked, watch.heard = 0.0, time.time() - 6
    (tmp_path / REPORTS).write_text("{}\n", encoding="utf-8")
    watch.look()


def write_reports(folder: Path, *reports: tuple[str, str, str]) -> None:
    lines = [
        json.dumps({"test": test, "when": when, "outcome": outcome, "reason": "", "seconds": 1.0, "cpu": 0.5})
        for test, when, outcome in reports
    ]
    (folder / REPORTS).write_text("\n".join([*lines, '{"test": "cut sh']), encoding="utf-8")


def test_worst_phase_decides(tmp_path: Path) -> None:
    write_reports(
        tmp_path,
        ("tests/unit/a.py::good", "setup", "passed"),
        ("tests/unit/a.py::good", "call", "passed"),
        ("tests/unit/a.py::good", "teardown", "passed"),
        ("tests/unit/a.py::untidy", "call", "passed"),
        ("tests/unit/a.py::untidy", "teardown", "failed"),
        ("tests/unit/a.py::broken", "setup", "failed"),
        ("tests/unit/a.py::broken", "teardown", "passed"),
        ("tests/unit/a.py::unable", "setup", "skipped"),
        ("tests/unit/a.py::unable", "teardown", "passed"),
    )
    (outcome,) = read_outcomes(tmp_path)
    assert outcome.passed == 1
    assert outcome.failures == ("tests/unit/a.py::untidy", "tests/unit/a.py::broken")
    assert [skip.name for skip in outcome.skips] == ["tests/unit/a.py::unable"]
    assert (outcome.seconds, outcome.cpu) == (9.0, 4.5)
    assert read_costs(tmp_path)[0] == (1.5, "tests/unit/a.py::good")


@pytest.mark.parametrize(
    ("name", "group"),
    {
        "tests/unit/packaging/test_x.py::a": "tests/unit",
        "tests/integration/packaging/test_x.py::a": "tests/integration/packaging",
        "tests/integration/test_x.py::a": "tests/integration",
        "tests/other/test_x.py": "tests",
    }.items(),
)
def test_folder_gives_the_line_of_the_table(name: str, group: str) -> None:
    assert find_group(name) == group
