"""Holds the order of the packages: a module imports only from its own package and those before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "build_tools"
ORDER = ("base", "env", "wasm", "toolchain", "kernel", "bench", "ecosystems", "checks", "release", "cli")
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/**/*.py"))


def find_imports(tree: ast.Module) -> set[str]:
    """Return what a module of ours imports from `build_tools`, as dotted names; types count too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "build_tools":
                found.update(alias.name for alias in node.names)
            elif module.startswith("build_tools."):
                base = module.removeprefix("build_tools.")
                found.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(
                alias.name.removeprefix("build_tools.")
                for alias in node.names
                if alias.name.startswith("build_tools.")
            )
    return found


def find_upward(name: str, tree: ast.Module) -> set[str]:
    """Return the imports of the module `name` (a path) that lead to a package after its own."""
    rank = ORDER.index(name.split("/", maxsplit=1)[0])
    return {other for other in find_imports(tree) if ORDER.index(other.split(".")[0]) > rank}


def find_circle(edges: dict[str, set[str]]) -> list[str]:
    """Return one circle of imports as the modules on it, or nothing."""
    state: dict[str, bool] = {}  # False while a module is being walked, True afterwards

    def walk(name: str, path: list[str]) -> list[str]:
        if name in state:
            return [] if state[name] else [*path[path.index(name) :], name]
        state[name] = False
        for other in sorted(edges.get(name, ())):
            if circle := walk(other, [*path, name]):
                return circle
        state[name] = True
        return []

    return next((circle for name in sorted(edges) if (circle := walk(name, []))), [])


def read_edges(package: Path, imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return for each module the modules it imports, both dotted."""
    names = {
        path.relative_to(package).with_suffix("").as_posix().replace("/", ".")
        for path in package.rglob("*.py")
    }
    edges: dict[str, set[str]] = {}
    for name, found in imports.items():
        full = {other if other in names else other.rpartition(".")[0] for other in found}
        edges[name] = full & names
    return edges


def test_order_names_every_package() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ORDER)


def test_no_module_lies_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_only_from_packages_before(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    assert find_upward(name, tree) == set(), f"the order is {' '.join(ORDER)}"


def test_no_circle_of_imports_is_left() -> None:
    imports = {
        name.removesuffix(".py").replace("/", "."): find_imports(
            ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        )
        for name in MODULES
    }
    assert find_circle(read_edges(PACKAGE, imports)) == []


def test_import_from_a_later_package_is_found() -> None:
    tree = ast.parse("from build_tools.cli.main import main\nfrom build_tools import base\n")
    assert find_upward("kernel/abi.py", tree) == {"cli.main.main"}


def test_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_conformance_suite_never_imports_build_tools() -> None:
    suite = PACKAGE.parent / "tests" / "conformance" / "extism_kernel_conformance"
    for path in suite.rglob("*.py"):
        assert find_imports(ast.parse(path.read_text(encoding="utf-8"))) == set(), path
