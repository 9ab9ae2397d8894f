"""A folder with compiled code, for the processes that come after this one and those beside it.

The runtime cannot check compiled code: whoever writes an entry runs code of his own in each process that
reads it. So the folder must belong to this user, and nobody else may write there or put another folder in
its place. Against accidents each entry carries a digest: what was cut, damaged or made for something else
counts as absent. Entries appear whole, by a rename, so that any number of processes may write at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wasmtime import Module, WasmtimeError

from extism_kernel_pkg.host.errors import CacheFolderError
from extism_kernel_pkg.host.versions import find_version

if TYPE_CHECKING:
    from wasmtime import Engine

MAX_BYTES: Final = 2**30
"""What all entries may take together; what was not used for the longest time is removed first."""

_ENTRY: Final = re.compile(r"[0-9a-f]{64}\.cwasm")
_UNFINISHED: Final = "unfinished-"
_ABANDONED_AFTER: Final = 3600.0
"""Seconds after which an unfinished entry is one whose process was killed."""

_DIGEST_SIZE: Final = hashlib.sha256().digest_size
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0
_EMPTY_MODULE: Final = b"\0asm\1\0\0\0"
# On Windows the access list of a folder, by default the profile's, is the user's affair.
_HAS_OWNERS: Final = hasattr(os, "geteuid")
_TO_READ: Final = (
    os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)

_log: Final = logging.getLogger("extism_kernel_pkg.host")


def fingerprint(engine: Engine) -> bytes:
    """Return what is the same for two engines if each can run what the other compiles."""
    # Whatever is compiled names all settings, the processor and its features.
    version = str(find_version()).encode()
    return hashlib.sha256(version + Module(engine, _EMPTY_MODULE).serialize()).digest()


class DiskCache:
    """Such a folder, made if it is missing, for one engine; modules are known by their sha256.

    Raises `CacheFolderError` if it cannot be made or trusted.
    """

    def __init__(self, folder: Path, engine: Engine, engine_fingerprint: bytes) -> None:
        self._engine = engine
        self._fingerprint = engine_fingerprint
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = folder.resolve(strict=True)
            if _HAS_OWNERS:
                _check_owners(self._folder)
        except OSError as error:
            raise CacheFolderError(f"`{folder}` cannot be used: {error.strerror}") from None

    def find(self, sha256: bytes) -> Module | None:
        """Return the code of a module; None if there is none that can be used."""
        path = self._path(sha256)
        try:
            data = _read(path)
        except OSError:
            return None
        code = data[_DIGEST_SIZE:]
        if data[:_DIGEST_SIZE] != _digest(path, code):
            return None
        try:
            module = Module.deserialize(self._engine, code)
        except WasmtimeError:
            return None
        with suppress(OSError):  # then it counts as used when it was written
            os.utime(path)
        return module

    def has(self, sha256: bytes) -> bool:
        """Return whether there is an entry for a module, whatever its state."""
        return self._path(sha256).exists()

    def write(self, sha256: bytes, module: Module) -> None:
        """Add an entry, or replace one that cannot be used. Where that fails, it is logged, and no error."""
        path, code = self._path(sha256), bytes(module.serialize())
        try:
            _write(path, _digest(path, code) + code)
            self._remove_old()
        except OSError as error:
            _log.warning("compiled code cannot be kept in `%s`: %s", self._folder, error.strerror)

    def _path(self, sha256: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(sha256 + self._fingerprint).hexdigest()}.cwasm"

    def _remove_old(self) -> None:
        """Remove what was left unfinished, and what is beyond `MAX_BYTES`; files of others stay."""
        entries = []
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process removed it
                facts = file.lstat()
                if _ENTRY.fullmatch(file.name):
                    entries.append((facts.st_mtime, facts.st_size, file))
                elif file.name.startswith(_UNFINISHED) and time.time() - facts.st_mtime > _ABANDONED_AFTER:
                    file.unlink()
        excess = sum(size for _, size, _ in entries) - MAX_BYTES
        for _, size, file in sorted(entries):
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            excess -= size


def _check_owners(folder: Path) -> None:
    """Raise `CacheFolderError` if another user could change a folder, or put another one in its place."""
    for place in (folder, *folder.parents):
        facts = place.stat()
        can_others_write = facts.st_mode & _WRITABLE_BY_OTHERS and not (
            place != folder and facts.st_mode & stat.S_ISVTX  # as in /tmp: only owners rename what is theirs
        )
        if facts.st_uid != os.geteuid() and (place == folder or facts.st_uid != _ROOT):
            fault = "belongs to another user"
        elif can_others_write:
            fault = "can be written by other users"
        else:
            continue
        raise CacheFolderError(
            f"`{folder}` cannot hold compiled code: `{place}` {fault}",
            hint="choose a folder of your own, and use `chmod go-w` on it and those above it",
        )


def _read(path: Path) -> bytes:
    """Return the bytes of a file of this user; empty if it is anything else. Raises `OSError`."""
    number = os.open(path, _TO_READ)  # neither a link elsewhere, nor a pipe that is waited for
    with os.fdopen(number, "rb") as file:
        facts = os.fstat(number)
        is_ours = not _HAS_OWNERS or (
            facts.st_uid == os.geteuid() and not facts.st_mode & _WRITABLE_BY_OTHERS
        )
        return file.read() if stat.S_ISREG(facts.st_mode) and is_ours else b""


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none. Raises `OSError`."""
    number, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _digest(path: Path, code: bytes) -> bytes:
    """Return the digest of an entry: of its name too, so that none is taken for another."""
    return hashlib.sha256(path.name.encode() + code).digest()
