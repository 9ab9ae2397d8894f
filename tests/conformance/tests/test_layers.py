"""Holds the order of the suite's packages: a module imports only from its own and those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.layers import Layers, find_circle

PACKAGE = Path(__file__).resolve().parents[1] / "extism_kernel_conformance"
LAYERS = Layers(
    PACKAGE, ("base", "wasm", "model", "cases", "adapter", "probe", "play", "lint", "run", "reports", "cli")
)


def test_order_names_every_package() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(LAYERS.order)


def test_no_module_lies_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", LAYERS.modules)
def test_module_imports_only_from_packages_before(name: str) -> None:
    assert LAYERS.find_upward(name, LAYERS.parse(name)) == set(), f"the order is {' '.join(LAYERS.order)}"


def test_no_circle_of_imports_is_left() -> None:
    assert find_circle(LAYERS.read_edges()) == []


def test_import_from_a_later_package_is_found() -> None:
    tree = ast.parse("from extism_kernel_conformance.run.report import Section\n")
    assert LAYERS.find_upward("play/machine.py", tree) == {"run.report.Section"}
