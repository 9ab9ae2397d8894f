"""The sources of a checkout, without what builds, tools and people leave in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from build_tools.base.errors import ToolFailedError, ToolNotFoundError
from build_tools.base.files import make_folder
from build_tools.base.process import run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["copy_sources", "list_sources"]

NOT_SOURCES = (
    ".git",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
    "target",
)


def copy_sources(root: Path, target: Path) -> None:
    """Copy a tree without what builds and tools leave in it: what git knows, or all but known leavings."""
    names = _tracked(root)
    if names is None:
        ignore = shutil.ignore_patterns(*NOT_SOURCES, "*.pyc", "*.part")
        shutil.copytree(root, target, ignore=ignore, symlinks=True)
        return
    for name in names:
        if (root / name).is_file():
            make_folder((target / name).parent)
            shutil.copy2(root / name, target / name)


def list_sources(root: Path) -> list[str]:
    """Return the names, with slashes, of the files that `copy_sources` copies."""
    names = _tracked(root)
    if names is None:
        found = (
            path.relative_to(root) for path in root.rglob("*") if not path.name.endswith((".pyc", ".part"))
        )
        names = sorted(path.as_posix() for path in found if not set(NOT_SOURCES) & set(path.parts))
    return [name for name in names if (root / name).is_file()]


def _tracked(root: Path) -> list[str] | None:
    if not (root / ".git").exists():
        return None
    try:
        listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root)
    except (ToolFailedError, ToolNotFoundError):
        return None
    return sorted(name for name in listed.split("\0") if name)
