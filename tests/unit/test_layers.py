"""Holds the table of DESIGN: a module imports only from the rows above its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "build_tools"
# One row per line of the design, top first. `ecosystems` stands for the whole subpackage.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "errors model stamps leb128 features progress scenarios",
        "cache files process release_errors",
        "apt",
        "installer",
        "bootstrap config wasm report sections",
        "abi layout pins version changelog archive index diff inspection costs cycles upstream clauses worst",
        "sysroot debian crate compile lower scan",
        "toolchain validate stamp stage sbom provenance wheelfile compare known pythons cost_report",
        "backend verify distributions doctor native",
        "ecosystems pipeline release_checks reproduce bench testing",
        "publish release_report",
        "commands release_commands tool_commands",
        "cli",
        "__main__",
    )
)
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}


def module_names() -> list[str]:
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    return sorted(names - {"__init__"})


def imports_of(name: str) -> set[str]:
    """Return the modules of ours that a module imports when it runs; types are free."""
    paths = [PACKAGE / f"{name}.py", *(PACKAGE / name).glob("*.py")]
    found: set[str] = set()
    for path in paths:
        if path.is_file():
            found |= _imports(ast.parse(path.read_text(encoding="utf-8")))
    return found - {name}


def _imports(tree: ast.Module) -> set[str]:
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "build_tools":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("build_tools."):
            found.add((node.module or "").split(".")[1])
    return found


def test_table_names_every_module() -> None:
    assert set(module_names()) - RANK.keys() == set(), "give the new module its row in ROWS"


def test_table_names_no_module_twice() -> None:
    assert sum(len(row) for row in ROWS) == len(RANK)


@pytest.mark.parametrize("name", module_names())
def test_module_imports_only_from_rows_above(name: str) -> None:
    wrong = {other for other in imports_of(name) if RANK[other] >= RANK[name]}
    assert wrong == set(), f"`{name}` is in row {RANK[name]} and imports from its own row or below"


def test_layers_trip_on_an_import_from_below() -> None:
    tree = ast.parse("from build_tools.cli import main\nfrom build_tools import pipeline\n")
    assert {RANK[name] > RANK["errors"] for name in _imports(tree)} == {True}


def test_conformance_suite_never_imports_build_tools() -> None:
    suite = PACKAGE.parent / "tests" / "conformance" / "extism_kernel_conformance"
    for path in suite.rglob("*.py"):
        assert _imports(ast.parse(path.read_text(encoding="utf-8"))) == set(), path
