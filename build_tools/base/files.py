"""Reading with a bound, writing whole or not at all, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shlex
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import (
    DiskFullError,
    FileMissingError,
    FileSystemError,
    FileTooLargeError,
    ReadOnlyError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

try:
    import fcntl
except ImportError:  # not a POSIX system: builds still work, two at once are not kept apart
    fcntl = None  # type: ignore[assignment]  # the absence is checked where it is used

log = logging.getLogger(__name__)

MODULE_LIMIT = 16 * 1024 * 1024
CHUNK = 1 << 20


def sha256_of(data: bytes) -> str:
    """Return the digest of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def read_digest(path: Path) -> str:
    """Return the digest of a file, in hex, without holding it in memory."""
    digest = hashlib.sha256()
    with guard_reading(path), path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_ordinary(path: Path) -> None:
    """Raise `FileMissingError` for a pipe or a device, which may be read once, or never end."""
    with guard(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileMissingError(
            "is a pipe or a device, not a file", where=str(path), hint="write its content to a file first"
        )


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Return one digest over names and contents, the same for any order and any place of `root`."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root).as_posix().encode()
        with guard(path):
            content = path.read_bytes()
        digest.update(b"%d:%s:%d:" % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()


def read_bounded(path: Path, *, limit: int = MODULE_LIMIT) -> bytes:
    """Return a file's bytes, refusing one over `limit` bytes before reading it."""
    with guard_reading(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_size > limit:
            raise FileTooLargeError(
                f"{status.st_size:,} bytes; a module of this kind is under {limit:,}", where=str(path)
            )
        data = file.read(limit + 1)  # pipes and devices have no size to ask for
    if len(data) > limit:
        raise FileTooLargeError(f"more than {limit:,} bytes; a module is smaller", where=str(path))
    return data


@contextlib.contextmanager
def guard(path: Path) -> Iterator[None]:
    """Turn an `OSError` about `path` into one of ours, with a remedy."""
    try:
        yield
    except FileNotFoundError:
        raise FileMissingError("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise FileMissingError("is a folder, not a file", where=str(path)) from None
    except OSError as error:
        raise translate(error, path) from None


@contextlib.contextmanager
def guard_reading(path: Path) -> Iterator[None]:
    """Guard a file that is only read: another folder to write to is no remedy."""
    with guard(path):
        try:
            yield
        except PermissionError as error:
            hint = f"`chmod +r {shlex.quote(str(path))}`, or run this as a user who may read it"
            raise FileSystemError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None


def translate(error: OSError, path: Path) -> FileSystemError:
    """Return our error for an operating system's."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(where=str(path))
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return ReadOnlyError(
            f"cannot be read or written here ({error.strerror})",
            where=str(path),
            hint="use a folder that you may write: `--out DIR` for the kernel, XDG_CACHE_HOME for the cache",
        )
    return FileSystemError(error.strerror or str(error), where=str(path))


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, and return it."""
    with guard(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_temporary(path: Path, data: bytes) -> Path:
    """Write bytes to a new file beside `path` and return it; remove it again if that fails."""
    with guard(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with guard(path), os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part."""
    temporary = write_temporary(path, data)
    try:
        with guard(path):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` if the body ends well and vanishes otherwise."""
    make_folder(target.parent)
    with guard(target):
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield temporary
        with guard(target):
            if target.exists():
                shutil.rmtree(target)
            temporary.chmod(0o755)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file; say so once when another process holds it, and wait.

    The operating system lets go of it when we end, however we end.
    """
    make_folder(path.parent)
    with guard(path):
        file = path.open("a+b")
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("waiting for another run of build_tools (%s)", path.name)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed runs left in a folder for `name`; call it only while holding the folder's lock."""
    for left in folder.glob(f".{name}.*.part"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
