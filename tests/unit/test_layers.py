"""Holds the order of the packages: a module imports only from its own package and those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.layers import Layers

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


def test_order_names_every_package_and_no_module_imports_upward() -> None:
    assert LAYERS.find_faults() == []


def write_modules(folder: Path, modules: dict[str, str]) -> Path:
    """Make a package with these modules."""
    package = folder / "package"
    for name, text in modules.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


FIRST_AND_SECOND = {"first/__init__.py": "", "second/__init__.py": ""}


@pytest.mark.parametrize(
    ("modules", "fault"),
    [
        ({"third/__init__.py": ""}, "third/: not in the order"),
        ({"stray.py": ""}, "stray.py: lies beside the packages"),
        (
            {"first/a.py": "from package.second.b import x\n", "second/b.py": "x = 1\n"},
            "first/a.py: imports second.b.x, from a later package",
        ),
        (
            {"first/a.py": "import package.first.b\n", "first/b.py": "import package.first.a\n"},
            "a circle of imports: first.a -> first.b -> first.a",
        ),
    ],
    ids=["folder", "stray", "upward", "circle"],
)
def test_fault_of_the_order_is_found(modules: dict[str, str], fault: str, tmp_path: Path) -> None:
    package = write_modules(tmp_path, FIRST_AND_SECOND | modules)
    assert Layers(package, ("first", "second")).find_faults() == [fault]


def test_folder_that_is_not_there_is_found(tmp_path: Path) -> None:
    package = write_modules(tmp_path, FIRST_AND_SECOND)
    faults = Layers(package, ("first", "second", "third")).find_faults()
    assert faults == ["third/: in the order, but not there"]


def test_import_from_a_later_package_is_found() -> None:
    tree = ast.parse("from build_tools.cli.main import main\nfrom build_tools import base\n")
    assert LAYERS.find_upward("kernel/abi.py", tree) == {"cli.main.main"}


def test_conformance_suite_never_imports_build_tools() -> None:
    suite = PACKAGE.parent / "tests" / "conformance" / "extism_kernel_conformance"
    for path in suite.rglob("*.py"):
        assert LAYERS.find_imports(ast.parse(path.read_text(encoding="utf-8"))) == set(), path
