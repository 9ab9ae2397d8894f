"""Zip and tar archives whose bytes depend on their members alone.

Two things make archives of equal files differ: what the file system adds (order, times, modes, owners)
and the compressor (zlib and zlib-ng deflate alike input to unlike output). So members are sorted by their
writer, carry one time and one of two modes, and are packed by `build_tools.base.deflate`.
"""

from __future__ import annotations

import calendar
import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.deflate import deflate, gzip_deterministic
from build_tools.base.errors import InvalidArchiveError, InvalidEpochError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Member", "make_tar_gz", "make_zip", "parse_tar_gz", "parse_zip", "read_epoch"]

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
DEFAULT_EPOCH = 1667997441
"""Seconds since 1970 used when nothing else is asked for; scikit-build-core's own default."""

ZIP_EPOCH_MIN = calendar.timegm((1980, 1, 1, 0, 0, 0))
ZIP_EPOCH_MAX = calendar.timegm((2107, 12, 31, 23, 59, 58))
TAR_EPOCH_MAX = 8**11 - 1
UNIX = 3
ZIP_VERSION = 20
STORED, DEFLATED = 0, 8
UTF8_NAME = 0x800
MEMBER_SIZE_MAX = 64 * 1024 * 1024
"""Bytes that one member may unpack to: far above anything we ship, far below what would hurt."""
UNPACKED_SIZE_MAX = 4 * MEMBER_SIZE_MAX
"""Bytes that a whole tarball may unpack to."""

BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
BROKEN_TAR = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive: its path with forward slashes, its bytes, and whether it may be executed."""

    name: str
    data: bytes
    executable: bool = False

    @property
    def mode(self) -> int:
        """The permission bits that git would give the file: 0o755 or 0o644."""
        return 0o755 if self.executable else 0o644


def read_epoch() -> int:
    """Return the time, in seconds since 1970, that every archive member carries.

    Raises InvalidEpochError if SOURCE_DATE_EPOCH is set to anything but a decimal number.
    """
    text = os.environ.get(EPOCH_VARIABLE)
    if text is None:
        return DEFAULT_EPOCH
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise InvalidEpochError(text)
    return int(text)


def make_zip(members: Iterable[Member], *, epoch: int) -> bytes:
    """Return a zip of the members in the order given, deflated, all dated `epoch` (clamped to zip's range).

    The format is PKWARE's APPNOTE 6.3.3; `zipfile` cannot take what is packed already.
    """
    year, month, day, hour, minute, second = time.gmtime(min(max(epoch, ZIP_EPOCH_MIN), ZIP_EPOCH_MAX))[:6]
    moment = hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
    body, directory = bytearray(), bytearray()
    count = 0
    for count, member in enumerate(members, start=1):  # noqa: B007 - the number of all is wanted at the end
        name = member.name.encode()
        packed = deflate(member.data)
        method = DEFLATED if len(packed) < len(member.data) else STORED
        content = packed if method == DEFLATED else member.data
        flags = 0 if member.name.isascii() else UTF8_NAME
        sizes = zlib.crc32(member.data), len(content), len(member.data), len(name), 0
        shared = struct.pack("<HHHHHIIIHH", ZIP_VERSION, flags, method, *moment, *sizes)
        mode = (0o100000 | member.mode) << 16
        directory += b"PK\1\2" + struct.pack("<BB", ZIP_VERSION, UNIX) + shared
        directory += struct.pack("<HHHII", 0, 0, 0, mode, len(body)) + name
        body += b"PK\3\4" + shared + name + content
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def make_tar_gz(members: Iterable[Member], *, epoch: int) -> bytes:
    """Return a gzipped tar of the members in the order given, packed, all dated `epoch`, owned by nobody."""
    buffer = io.BytesIO()
    with tarfile.TarFile(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size = len(member.data)
            info.mode = member.mode
            info.mtime = min(epoch, TAR_EPOCH_MAX)
            archive.addfile(info, io.BytesIO(member.data))
    return gzip_deterministic(buffer.getvalue(), epoch=epoch)


def parse_zip(data: bytes, where: str) -> list[Member]:
    """Return the files of a zip (a wheel, a jar, a nupkg) in their order; directories are left out.

    Raises InvalidArchiveError, naming `where`, if the bytes are no sound zip or a member is out of bounds.
    """
    members = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                _check_member_size(info.file_size, where, info.filename)
                executable = bool(info.external_attr >> 16 & 0o100)
                members.append(Member(name=info.filename, data=archive.read(info), executable=executable))
    except BROKEN_ZIP as error:
        raise InvalidArchiveError("zip", where, str(error)) from error
    return members


def parse_tar_gz(data: bytes, where: str) -> list[Member]:
    """Return the regular files of a gzipped tar (an sdist, an npm or crate tarball) in their order.

    Raises InvalidArchiveError, naming `where`, if the bytes are no sound tar or a member is out of bounds.
    """
    members = []
    try:
        # Unpacked in one go: a tar reader stops at the end mark, before the digest of the compressed stream.
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            unpacked = stream.read(UNPACKED_SIZE_MAX + 1)
        if len(unpacked) > UNPACKED_SIZE_MAX:
            raise InvalidArchiveError("gzipped tar", where, f"it unpacks to over {UNPACKED_SIZE_MAX} bytes")
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for info in archive:
                if not info.isfile():
                    continue
                _check_member_size(info.size, where, info.name)
                file = archive.extractfile(info)
                content = b"" if file is None else file.read()
                members.append(Member(name=info.name, data=content, executable=bool(info.mode & 0o100)))
    except BROKEN_TAR as error:
        raise InvalidArchiveError("gzipped tar", where, str(error)) from error
    return members


def _check_member_size(size: int, where: str, name: str) -> None:
    if size > MEMBER_SIZE_MAX:
        raise InvalidArchiveError("archive", where, f"`{name}` unpacks to {size} bytes")
