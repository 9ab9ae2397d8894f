"""The Python interpreters of this machine, for builds with another one than ours."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import ToolFailedError, ToolNotFoundError
from build_tools.base.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SUPPORTED", "Interpreter", "find_other_python", "find_python"]

SUPPORTED = ("3.14", "3.13", "3.12", "3.11", "3.10")
# `ensurepip` and `venv` are packages of their own on some systems; without them no environment can be made.
QUESTION = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that was seen to run; `version` is like `3.12`."""

    path: Path
    version: str


def find_python(version: str) -> Interpreter | None:
    """Return a Python of a version (`3.12`) that can make environments, or None."""
    for path in _candidates(version):
        # A version manager may have a shim for a version that is not active: only what it says counts.
        if _ask(path, "-c", QUESTION) == version:
            return Interpreter(path=path, version=version)
    return None


def find_other_python() -> Interpreter | None:
    """Return the newest supported Python whose version is not ours, or None."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = (find_python(version) for version in SUPPORTED if version != ours)
    return next((interpreter for interpreter in found if interpreter is not None), None)


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)
    pyenv = shutil.which("pyenv")
    root = None if pyenv is None else _ask(Path(pyenv), "root")
    if root:
        yield from sorted(Path(root, "versions").glob(f"{version}.*/bin/python{version}"))


def _ask(program: Path, *arguments: str) -> str | None:
    try:
        return run([program, *arguments], cwd=Path.cwd(), timeout=30).strip()
    except (ToolFailedError, ToolNotFoundError):
        return None
