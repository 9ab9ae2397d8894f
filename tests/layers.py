"""Reads the imports between the modules of one package, for the tests that hold the order of its folders."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Layers:
    """A package whose folders are in an order: a module imports only from its own and those before it."""

    package: Path
    order: tuple[str, ...]

    @property
    def modules(self) -> list[str]:
        """The modules inside the folders, as paths."""
        return sorted(path.relative_to(self.package).as_posix() for path in self.package.glob("*/**/*.py"))

    def parse(self, name: str) -> ast.Module:
        """Return the syntax tree of one module."""
        return ast.parse((self.package / name).read_text(encoding="utf-8"))

    def find_imports(self, tree: ast.Module) -> set[str]:
        """Return what a module imports from the package, as dotted names; types count too."""
        prefix = f"{self.package.name}."
        found: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if module == self.package.name:
                    found.update(alias.name for alias in node.names)
                elif module.startswith(prefix):
                    base = module.removeprefix(prefix)
                    found.update(f"{base}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                names = (alias.name for alias in node.names)
                found.update(name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return found

    def find_upward(self, name: str, tree: ast.Module) -> set[str]:
        """Return the imports of the module `name` (a path) that lead to a folder after its own."""
        rank = self.order.index(name.split("/", maxsplit=1)[0])
        return {
            other
            for other in self.find_imports(tree)
            if self.order.index(other.split(".", maxsplit=1)[0]) > rank
        }

    def find_faults(self) -> list[str]:
        """Return what breaks the order, one line each: folders, stray modules, imports upward, a circle."""
        folders = {path.parent.name for path in self.package.glob("*/__init__.py")}
        faults = [f"{name}/: not in the order" for name in sorted(folders - set(self.order))]
        faults += [f"{name}/: in the order, but not there" for name in sorted(set(self.order) - folders)]
        stray = {path.name for path in self.package.glob("*.py")} - {"__init__.py", "__main__.py"}
        faults += [f"{name}: lies beside the packages" for name in sorted(stray)]
        if faults:
            return faults  # what has no rank cannot be compared
        for name in self.modules:
            upward = self.find_upward(name, self.parse(name))
            faults += [f"{name}: imports {other}, from a later package" for other in sorted(upward)]
        circle = find_circle(self.read_edges())
        return [*faults, f"a circle of imports: {' -> '.join(circle)}"] if circle else faults

    def read_edges(self) -> dict[str, set[str]]:
        """Return for each module the modules it imports, both dotted."""
        names = {_dotted(path.relative_to(self.package).as_posix()) for path in self.package.rglob("*.py")}
        edges: dict[str, set[str]] = {}
        for name in self.modules:
            found = self.find_imports(self.parse(name))
            edges[_dotted(name)] = {
                other if other in names else other.rpartition(".")[0] for other in found
            } & names
        return edges


def find_circle(edges: Mapping[str, set[str]]) -> list[str]:
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


def _dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")
