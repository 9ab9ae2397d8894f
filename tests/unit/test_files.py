from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import (
    DiskFullError,
    FileMissingError,
    FileSystemError,
    FileTooLargeError,
    ReadOnlyError,
)

from .conftest import ROOT


def test_write_whole_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "kernel.wasm"
    files.write_whole(path, b"old")
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernel.wasm"
    path.write_bytes(b"old")

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(DiskFullError, match="the disk is full"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_replace_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(FileMissingError, match="is a folder"):
        files.write_whole(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


TRANSLATED = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EROFS: ReadOnlyError,
    errno.EACCES: ReadOnlyError,
    errno.EIO: FileSystemError,
}


@pytest.mark.parametrize(("number", "kind"), TRANSLATED.items())
def test_system_errors_become_ours(number: int, kind: type[FileSystemError], tmp_path: Path) -> None:
    with pytest.raises(FileSystemError) as caught, files.guard(tmp_path):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert caught.value.where == str(tmp_path)


def test_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.wasm"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    started = time.monotonic()
    with pytest.raises(FileTooLargeError, match="200,000,000 bytes"):
        files.read_bounded(path)
    assert time.monotonic() - started < 1


def test_endless_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: _fill(pipe), daemon=True)
    writer.start()
    with pytest.raises(FileTooLargeError, match="more than 1,000 bytes"):
        files.read_bounded(pipe, limit=1000)
    writer.join(10)


def _fill(pipe: Path) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write_bytes(b"x" * 5000)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="there is no such file"):
        files.read_bounded(tmp_path / "absent")
    with pytest.raises(FileMissingError, match="is a folder"):
        files.read_bounded(tmp_path)


def test_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "tree"
    with pytest.raises(ZeroDivisionError), files.new_folder(target) as part:  # noqa: PT012 - the body is the test
        (part / "half").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with files.new_folder(target) as part:
        (part / "whole").touch()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_sweep_removes_what_killed_runs_left(tmp_path: Path) -> None:
    (tmp_path / ".tree.x.part").mkdir()
    (tmp_path / ".file.y.part").touch()
    (tmp_path / "kept").touch()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


HOLDER = """
import sys, time
from pathlib import Path
from build_tools.base import files
with files.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_keeps_two_apart_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        entered = threading.Event()
        waiter = threading.Thread(target=lambda: _enter(path, entered))
        waiter.start()
        assert not entered.wait(0.3)
        holder.kill()
        assert entered.wait(10)
        waiter.join()


def _enter(path: Path, entered: threading.Event) -> None:
    with files.lock(path):
        entered.set()


def test_digest_of_files_does_not_depend_on_place_or_order(tmp_path: Path) -> None:
    digests = set()
    for name, order in (("one", "ab"), ("two", "ba")):
        folder = tmp_path / name
        folder.mkdir()
        for letter in order:
            (folder / letter).write_text(letter, encoding="utf-8")
        digests.add(files.digest_files(folder, [folder / letter for letter in order]))
    assert len(digests) == 1


def test_digest_of_files_sees_a_moved_boundary(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xy")
    (tmp_path / "b").write_bytes(b"z")
    first = files.digest_files(tmp_path, [tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"yz")
    assert files.digest_files(tmp_path, [tmp_path / "a", tmp_path / "b"]) != first


CACHES = {
    "xdg": ({"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/extism-kernel"),
    "xdg-relative": ({"XDG_CACHE_HOME": "elsewhere"}, "HOME/.cache/extism-kernel"),
    "xdg-empty": ({"XDG_CACHE_HOME": ""}, "HOME/.cache/extism-kernel"),
}


@pytest.mark.parametrize(("environ", "folder"), CACHES.values(), ids=CACHES)
def test_cache_follows_the_specification(environ: dict[str, str], folder: str, tmp_path: Path) -> None:
    assert str(find_cache({"HOME": str(tmp_path), **environ})) == folder.replace("HOME", str(tmp_path))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"extism-kernel-{os.getuid()}"


@pytest.mark.parametrize(
    "home",
    [
        "/nonexistent",
        "/nonexistent/home",
        "/dev/null",
        "/dev/null/deep/home",
        pytest.param(
            "/proc/1/root/deep/home",
            marks=pytest.mark.skipif(
                os.geteuid() == 0, reason="root may look everywhere; run as another user"
            ),
        ),
    ],
)
def test_cache_of_a_user_without_a_home_is_named_by_user(home: str, temporary: Path) -> None:
    assert find_cache({"HOME": home}) == temporary
    temporary.mkdir()
    assert find_cache({"HOME": home}) == temporary


def test_cache_of_a_home_that_cannot_be_written_is_elsewhere(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: path != home)  # root may write everywhere
    assert find_cache({"HOME": str(home)}) == temporary


def test_cache_that_somebody_else_put_there_is_refused(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary.mkdir()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    theirs = temporary.rename(temporary.with_name(f"extism-kernel-{stranger}"))
    with pytest.raises(ReadOnlyError, match="nothing in it can be trusted") as caught:
        find_cache({"HOME": "/dev/null"})
    assert caught.value.where == str(theirs)
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_input_that_may_not_be_read_is_told_apart_from_a_folder_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(FileSystemError, match=r"cannot be read \(Permission denied\)") as caught:
        files.read_bounded(tmp_path / "kernel.wasm")
    assert "--out" not in caught.value.render()
    assert "chmod +r" in caught.value.render()
