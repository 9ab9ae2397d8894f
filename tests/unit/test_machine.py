"""Time limits follow the machine, and no limit inside a test is as long as the test's own."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from build_tools.base.project import read_toml
from build_tools.checks import machine
from build_tools.checks.machine import LARGEST, Machine, calibrate
from build_tools.checks.pytests import Limits
from tests.processes import patience

ROOT = Path(__file__).resolve().parents[2]
WORD = "timeout"
# The suite is a program, and runs by itself.
OTHERS = {"node_modules", "extism_kernel_conformance"}


@pytest.mark.parametrize(
    ("speed", "load", "factor"),
    [
        (1.0, 0.0, 1.0),
        (4.0, 0.0, 1.0),
        (0.5, 0.0, 2.0),
        (1.0, 2.0, 2.0),
        (0.5, 6.0, 8.0),
        (0.01, 9.0, LARGEST),
    ],
)
def test_factor_grows_with_load_and_slowness(speed: float, load: float, factor: float) -> None:
    assert Machine(processors=2, speed=speed, load=load).factor == factor


def test_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    found = calibrate()
    assert found.load == 3.0
    assert found.speed > 0
    assert found.processors >= 1
    assert f"time limits are multiplied by {found.factor:.1f}" in found.describe()


def test_system_without_a_load_average_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", none)
    assert calibrate().load == 0.0


def test_slow_machine_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_measure", lambda: machine.REFERENCE_SECONDS * 4)
    assert calibrate().speed == 0.25


def find_limits(text: str) -> list[tuple[int, float]]:
    """Return line and value of each time limit that a call is given as a number or a constant of the file."""
    tree = ast.parse(text)
    numbers = {
        node.targets[0].id: float(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, (int, float))
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == WORD:
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, (int, float)):
                found.append((node.value.lineno, float(node.value.value)))
            elif isinstance(node.value, ast.Name) and node.value.id in numbers:
                found.append((node.value.lineno, numbers[node.value.id]))
    return found


def test_no_limit_in_a_test_is_as_long_as_the_tests_own() -> None:
    """One that is would be reported by whichever comes first, by chance."""
    limits = Limits()
    longest = limits.test
    assert limits.test < limits.worker < limits.silence
    assert read_toml(ROOT / "pyproject.toml")["tool"]["pytest"]["ini_options"][WORD] == longest
    files = [path for path in (ROOT / "tests").rglob("*.py") if not OTHERS & set(path.parts)]
    assert len(files) > 100
    found = {
        f"{path.relative_to(ROOT)}:{line}": seconds
        for path in files
        for line, seconds in find_limits(path.read_text(encoding="utf-8"))
    }
    assert {place: seconds for place, seconds in found.items() if seconds > longest * 0.9} == {}


def test_limits_are_found() -> None:
    text = "LIMIT = 300\nrun(timeout=LIMIT)\nrun(timeout=280.0)\nrun(timeout=other)\n"
    assert find_limits(text) == [(2, 300.0), (3, 280.0)]


def test_subprocess_limit_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.FACTOR_VARIABLE, "2.5")
    assert patience(10) == 25.0
    monkeypatch.delenv(machine.FACTOR_VARIABLE)
    assert patience(10) == 10.0
