"""What `reproduce` builds from and with: copies of the sources, and other Pythons."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.process import run
from build_tools.env.pythons import find_python
from build_tools.release.sources import copy_sources

if TYPE_CHECKING:
    from pathlib import Path

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
MODULE = b"\0asm\1\0\0\0"


def make_tree(root: Path) -> None:
    for name in ("pyproject.toml", "src/lib.rs", "target/left.o", "src/__pycache__/x.pyc", "dist/old.whl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names_in(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_copy_of_a_tree_without_git_leaves_out_leavings(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    copy_sources(tmp_path / "tree", tmp_path / "copy")
    assert names_in(tmp_path / "copy") == ["pyproject.toml", "src/lib.rs"]


@pytest.mark.skipif(shutil.which("git") is None, reason="no `git`; install it with `apt-get install git`")
def test_copy_of_a_checkout_holds_what_git_knows_and_what_is_new(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_tree(root)
    (root / ".gitignore").write_text("target/\n__pycache__/\ndist/\n")
    run(["git", "init", "-q"], cwd=root)
    run(["git", "add", "pyproject.toml"], cwd=root)
    copy_sources(root, tmp_path / "copy")
    assert names_in(tmp_path / "copy") == [".gitignore", "pyproject.toml", "src/lib.rs"]


def test_program_that_is_not_the_python_it_is_named_after_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.14"
    shim.write_text("#!/bin/sh\necho 'no such version is active' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python("3.14") is None


def test_python_is_found_in_the_version_managers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "versions" / f"{OURS}.9" / "bin" / f"python{OURS}"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\necho {OURS}\n")  # ours may lack what an environment needs
    interpreter.chmod(0o755)
    manager = tmp_path / "bin" / "pyenv"
    manager.parent.mkdir()
    manager.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    manager.chmod(0o755)
    monkeypatch.setenv("PATH", str(manager.parent))
    found = find_python(OURS)
    assert found is not None
    assert found.path == interpreter
