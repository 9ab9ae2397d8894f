"""Finds WebAssembly modules in files, folders and archives (wheels, jars, npm and crate tarballs, nupkgs)."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from build_tools.base.archive import BROKEN_TAR, BROKEN_ZIP
from build_tools.base.errors import InvalidArchiveError
from build_tools.base.files import guard, read_bounded
from build_tools.wasm.sections import HEADER, is_module

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FoundModule", "find_modules"]

ARCHIVE_LIMIT = 512 * 1024 * 1024
"""Bytes of an archive that is looked into."""
MODULE_LIMIT = 16 * 1024 * 1024
"""Bytes of a module that is looked at. A kernel is under 16 KiB: a larger module is somebody's program."""
CHUNK = 1 << 20
DEPTH_LIMIT = 4
"""Archives inside archives: a wheel in an sdist, a jar in a jar."""
ZIP_MAGIC = b"PK\x03\x04"
GZIP_MAGIC = b"\x1f\x8b"
ZIP_SUFFIXES = (".whl", ".jar", ".war", ".aar", ".nupkg", ".zip", ".pyz", ".egg")
TAR_SUFFIXES = (".tgz", ".tar.gz", ".crate", ".gem")
SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModule:
    """One module: where it was found (`a.whl!/b/c.wasm` inside an archive) and its bytes."""

    where: str
    data: bytes


def find_modules(path: Path) -> Iterator[FoundModule]:
    """Yield every WebAssembly module at a path: the file itself, or what a folder or an archive holds.

    Nothing is yielded for a file that is neither, nor for a module over `MODULE_LIMIT`. Raises
    InvalidArchiveError for an archive that does not hold together, and the errors of
    `build_tools.base.files` for what cannot be read.
    """
    if not path.is_dir():
        yield from _in_file(path)
        return
    for folder, names, files in os.walk(path):
        names[:] = sorted(set(names) - SKIPPED_FOLDERS)
        for name in sorted(files):
            file = Path(folder, name)
            if file.is_file():  # no sockets, pipes, dangling links
                yield from _in_file(file)


def _in_file(path: Path) -> Iterator[FoundModule]:
    with guard(path), path.open("rb") as file:
        head = file.read(len(HEADER))
    if is_module(head):
        if path.stat().st_size <= MODULE_LIMIT:
            yield FoundModule(where=str(path), data=read_bounded(path, limit=MODULE_LIMIT))
    elif _is_archive(path.name, head):
        yield from _in_archive(read_bounded(path, limit=ARCHIVE_LIMIT), str(path), depth=1)


def _is_archive(name: str, head: bytes) -> bool:
    is_zip = head.startswith(ZIP_MAGIC) and name.endswith(ZIP_SUFFIXES)
    return is_zip or (head.startswith(GZIP_MAGIC) and name.endswith(TAR_SUFFIXES))


def _in_archive(data: bytes, where: str, *, depth: int) -> Iterator[FoundModule]:
    if data.startswith(ZIP_MAGIC):
        yield from _in_zip(data, where, depth)
    else:
        yield from _in_tar(data, where, depth)


def _in_zip(data: bytes, where: str, depth: int) -> Iterator[FoundModule]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as file:
                        yield from _in_member(file, info.filename, where, depth)
    except BROKEN_ZIP as error:
        raise InvalidArchiveError("zip", where, str(error)) from error


def _in_tar(data: bytes, where: str, depth: int) -> Iterator[FoundModule]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            with tarfile.open(fileobj=stream) as archive:
                for info in archive:
                    file = archive.extractfile(info) if info.isfile() else None
                    if file is not None:
                        yield from _in_member(file, info.name, where, depth)
            while stream.read(CHUNK):  # to the stream's own digest, which a tar reader does not reach
                pass
    except BROKEN_TAR as error:
        raise InvalidArchiveError("gzipped tar", where, str(error)) from error


def _in_member(file: IO[bytes], name: str, where: str, depth: int) -> Iterator[FoundModule]:
    head = file.read(len(HEADER))
    inside = f"{where}!/{name}"
    if is_module(head):
        data = head + file.read(MODULE_LIMIT)
        if len(data) <= MODULE_LIMIT:
            yield FoundModule(where=inside, data=data)
    elif _is_archive(name, head) and depth < DEPTH_LIMIT:
        yield from _in_archive(head + file.read(ARCHIVE_LIMIT), inside, depth=depth + 1)
