"""What `reproduce` builds from and with: copies of the sources, and other Pythons."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from build_tools.base.archive import Member, make_tar_gz, make_zip
from build_tools.base.errors import InvalidArchiveError
from build_tools.base.process import run
from build_tools.env.pythons import find_python
from build_tools.release.reproduce import copy_sources
from build_tools.release.scan import find_modules

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


def test_modules_are_found_by_content_and_other_files_passed_over(tmp_path: Path) -> None:
    (tmp_path / "no-suffix").write_bytes(MODULE)
    (tmp_path / "text.wasm").write_text("(module)")
    (tmp_path / "photo.zip").write_bytes(b"no zip at all")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "object.wasm").write_bytes(MODULE)
    os.mkfifo(tmp_path / "pipe.wasm")
    (tmp_path / "dangling.wasm").symlink_to(tmp_path / "absent")
    assert [Path(found.where).name for found in find_modules(tmp_path)] == ["no-suffix"]


def test_module_too_large_for_a_kernel_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build_tools.release.scan.MODULE_LIMIT", len(MODULE))
    large = MODULE + b"\0"
    (tmp_path / "large.wasm").write_bytes(large)
    (tmp_path / "fits.wasm").write_bytes(MODULE)
    (tmp_path / "both.jar").write_bytes(
        make_zip([Member(name="large.wasm", data=large), Member(name="fits.wasm", data=MODULE)], epoch=0)
    )
    assert {Path(found.where).name for found in find_modules(tmp_path)} == {"fits.wasm"}


def test_archives_inside_archives_are_searched_to_a_depth(tmp_path: Path) -> None:
    data = make_zip([Member(name="k.wasm", data=MODULE)], epoch=0)
    for _ in range(6):
        data = make_zip([Member(name="inner.jar", data=data), Member(name="k.wasm", data=MODULE)], epoch=0)
    (tmp_path / "outer.jar").write_bytes(data)
    found = [each.where.count("!/") for each in find_modules(tmp_path / "outer.jar")]
    assert found == [4, 3, 2, 1]


@pytest.mark.parametrize("name", ["cut.tgz", "cut.jar"])
def test_archive_that_is_cut_short_is_named(name: str, tmp_path: Path) -> None:
    make = make_zip if name.endswith("jar") else make_tar_gz
    (tmp_path / name).write_bytes(make([Member(name="k.wasm", data=MODULE * 99)], epoch=0)[:-300])
    with pytest.raises(InvalidArchiveError) as caught:
        list(find_modules(tmp_path))
    assert (caught.value.where or "").endswith(name)
