"""Holds the order of the packages: a module imports only from its own package and those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.layers import Layers, find_circle

PACKAGE = Path(__file__).resolve().parents[2] / "build_tools"
LAYERS = Layers(
    PACKAGE,
    (
        "base",
        "env",
        "wasm",
        "toolchain",
        "kernel",
        "proof",
        "bench",
        "ecosystems",
        "downstream",
        "checks",
        "release",
        "cli",
    ),
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
    tree = ast.parse("from build_tools.cli.main import main\nfrom build_tools import base\n")
    assert LAYERS.find_upward("kernel/abi.py", tree) == {"cli.main.main"}


def test_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_conformance_suite_never_imports_build_tools() -> None:
    suite = PACKAGE.parent / "tests" / "conformance" / "extism_kernel_conformance"
    for path in suite.rglob("*.py"):
        assert LAYERS.find_imports(ast.parse(path.read_text(encoding="utf-8"))) == set(), path
