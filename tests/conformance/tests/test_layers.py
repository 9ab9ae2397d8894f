"""Holds the order of the suite's packages: a module imports only from its own and those before it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.layers import Layers

PACKAGE = Path(__file__).resolve().parents[1] / "extism_kernel_conformance"
LAYERS = Layers(
    PACKAGE, ("base", "wasm", "model", "cases", "adapter", "probe", "play", "lint", "run", "reports", "cli")
)


def test_order_names_every_package_and_no_module_imports_upward() -> None:
    assert LAYERS.find_faults() == []


def test_import_from_a_later_package_is_found() -> None:
    tree = ast.parse("from extism_kernel_conformance.run.report import Section\n")
    assert LAYERS.find_upward("play/machine.py", tree) == {"run.report.Section"}
