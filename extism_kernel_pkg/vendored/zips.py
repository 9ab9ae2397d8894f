"""The members of a zip, read from its directory at the end; bounded, whatever the directory says.

`zipfile` holds every entry of the directory in memory, and LZMA members may ask for 4 GiB.
"""

from __future__ import annotations

import lzma
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg.vendored.budget import UnreadableError
from extism_kernel_pkg.vendored.streams import BROKEN, LZMA_MEMORY, decompress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.vendored.blob import Blob

LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END_64, LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
TAIL = 22 + 65535 + 20
"""Bytes at the end in which the end record is: it, the longest comment, the locator of zip64."""
IN_EXTRA = 0xFFFFFFFF
ENCRYPTED, UTF8 = 1, 0x800
METHODS = {8: "deflate", 12: "bzip2", 93: "zstd", 95: "xz"}
STORED, LZMA = 0, 14
ENTRY_MAX = 46 + 3 * 65535
"""Bytes of the longest entry of the directory."""
WINDOW = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipMember:
    """One member: its compressed bytes are `size` at `offset` of the archive."""

    name: str
    method: int
    is_encrypted: bool
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class ZipDirectory:
    """Where the directory is, and what to add to its offsets if something stands before the archive."""

    offset: int
    size: int
    shift: int


def find_directory(blob: Blob) -> ZipDirectory | None:
    """Return the directory of the zip that a blob ends with, or None if it does not."""
    start = max(blob.size - TAIL, 0)
    tail = blob.read(start, TAIL)
    at = tail.rfind(END)
    while at >= 0:
        found = _parse_end(blob, start + at, tail[at : at + 22])
        if found is not None:
            return found
        at = tail.rfind(END, 0, at)
    return None


def _parse_end(blob: Blob, at: int, record: bytes) -> ZipDirectory | None:
    if len(record) < 22:  # noqa: PLR2004 - the record's length
        return None
    size, offset, comment = struct.unpack("<IIH", record[12:22])
    if at + 22 + comment > blob.size:
        return None
    end = at
    if IN_EXTRA in {size, offset}:
        locator = blob.read(at - 20, 20)
        if not locator.startswith(LOCATOR_64):
            return None
        # Where the record of zip64 says it is, or just before its locator.
        for place in (struct.unpack("<Q", locator[8:16])[0], at - 20 - 56):
            wide = blob.read(place, 56)
            if wide.startswith(END_64) and len(wide) == 56:  # noqa: PLR2004
                size, offset = struct.unpack("<QQ", wide[40:56])
                end = place
                break
        else:
            return None
    start = end - size
    if start < 0 or (size and blob.read(start, 4) != ENTRY):
        return None
    return ZipDirectory(start, size, start - offset)


def read_members(blob: Blob, directory: ZipDirectory) -> Iterator[ZipMember]:
    """Yield the files of a zip. Raises `UnreadableError` where the directory is broken."""
    at, end = directory.offset, directory.offset + directory.size
    window, base = blob.read(at, min(WINDOW, end - at)), at
    while at < end:
        if at - base + ENTRY_MAX > len(window) and base + len(window) < end:
            window, base = blob.read(at, min(WINDOW, end - at)), at
        record = window[at - base : at - base + 46]
        if len(record) < 46 or not record.startswith(ENTRY):  # noqa: PLR2004
            raise UnreadableError("the zip's directory is broken")
        flags, method = struct.unpack("<HH", record[8:12])
        packed, size, name_size, extra_size, comment_size = struct.unpack("<IIHHH", record[20:34])
        (offset,) = struct.unpack("<I", record[42:46])
        at += 46
        raw_name = window[at - base : at - base + name_size]
        extra = window[at - base + name_size : at - base + name_size + extra_size]
        at += name_size + extra_size + comment_size
        if IN_EXTRA in {packed, size, offset}:
            packed, offset = _read_wide(extra, size, packed, offset)
        name = raw_name.decode("utf-8" if flags & UTF8 else "cp437", "replace")
        if name.endswith("/") and not packed:
            continue
        yield _locate(blob, name, method, flags, offset + directory.shift, packed)


def _read_wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int]:
    """Return compressed size and offset, from the extra field of zip64 where the entry has no room."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            values = [
                int.from_bytes(extra[place : place + 8], "little")
                for place in range(at + 4, min(at + 4 + length, len(extra) - 7), 8)
            ]
            for present, index in ((size, 0), (packed, 1), (offset, 2)):
                if present == IN_EXTRA and not values:
                    break
                if present == IN_EXTRA:
                    value = values.pop(0)
                    packed = value if index == 1 else packed
                    offset = value if index == 2 else offset  # noqa: PLR2004 - the third field
            break
        at += 4 + length
    return packed, offset


def _locate(blob: Blob, name: str, method: int, flags: int, offset: int, size: int) -> ZipMember:  # noqa: PLR0913, PLR0917
    head = blob.read(offset, 30)
    start = blob.size
    if len(head) == 30 and head.startswith(LOCAL):  # noqa: PLR2004
        name_size, extra_size = struct.unpack("<HH", head[26:30])
        start = offset + 30 + name_size + extra_size
    return ZipMember(name=name, method=method, is_encrypted=bool(flags & ENCRYPTED), offset=start, size=size)


def unpack(blob: Blob, member: ZipMember) -> Iterator[bytes]:
    """Yield the unpacked bytes of a member that is not stored. Raises `UnreadableError`."""
    if member.is_encrypted:
        raise UnreadableError("it is encrypted")
    if member.offset + member.size > blob.size:
        raise UnreadableError("the zip does not hold it, or not whole")
    pieces = blob.pieces(member.offset, member.size)
    if member.method == LZMA:
        return _unpack_lzma(blob, member)
    if member.method not in METHODS:
        raise UnreadableError(f"zip's compression method {member.method} is not supported")
    return decompress(METHODS[member.method], pieces)


def _unpack_lzma(blob: Blob, member: ZipMember) -> Iterator[bytes]:
    head = blob.read(member.offset, 9)
    if len(head) < 9 or head[2:4] != b"\5\0":  # noqa: PLR2004
        raise UnreadableError("its lzma data is broken")
    # As a stream of the older container: the properties, no size, the data.
    if int.from_bytes(head[5:9], "little") > LZMA_MEMORY:
        raise UnreadableError("unpacking it would take too much memory")
    machine = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY)
    try:
        yield machine.decompress(head[4:9] + b"\xff" * 8)
        for piece in blob.pieces(member.offset + 9, member.size - 9):
            given = piece
            while not machine.eof:
                yield machine.decompress(given, 1 << 20)
                given = b""
                if machine.needs_input:
                    break
    except BROKEN as error:
        raise UnreadableError(f"its lzma data is broken ({error})") from None
