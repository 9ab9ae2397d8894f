"""The members of a tar and of an `ar` archive (a Debian package, a static library), read one at a time.

`tarfile` keeps every header in memory and reads long names whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg.vendored.budget import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.vendored.blob import Blob

BLOCK = 512
NAME_MAX = 64 << 10
"""Bytes of a long name or of extended headers that are read."""
LONG_NAME, LONG_LINK, EXTENDED, GLOBAL, SPARSE = b"L", b"K", b"x", b"g", b"S"
FILES = frozenset({b"0", b"\0", b"7"})
AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60


@dataclass(frozen=True, slots=True)
class Stored:
    """One file inside an archive that stores it as it is: `size` bytes at `offset`."""

    name: str
    offset: int
    size: int


def is_tar(head: bytes) -> bool:
    """Say whether bytes begin with the header of a tar."""
    return len(head) >= BLOCK and _has_checksum(head[:BLOCK]) and any(head[:BLOCK])


def _has_checksum(header: bytes) -> bool:
    try:
        wanted = _number(header[148:156])
    except ValueError:
        return False
    return wanted == sum(header[:148]) + 8 * 0x20 + sum(header[156:])


def _number(field: bytes) -> int:
    if field[:1] in {b"\x80", b"\xff"}:  # GNU's binary form
        return int.from_bytes(field[1:], "big")
    return int(field.split(b"\0")[0].strip() or b"0", 8)


def read_tar(blob: Blob) -> Iterator[Stored]:
    """Yield the files of a tar. Raises `UnreadableError` where it is broken or cut."""
    at = 0
    name, size = "", None
    while at + BLOCK <= blob.size:
        header = blob.read(at, BLOCK)
        at += BLOCK
        if not any(header):
            name, size = "", None
            continue  # two of them end a tar; another one may follow
        if not _has_checksum(header):
            raise UnreadableError(f"the tar is broken at byte {at - BLOCK:#x}")
        kind = header[156:157]
        length = _number(header[124:136]) if size is None else size
        if kind in {LONG_NAME, EXTENDED, GLOBAL, LONG_LINK}:
            content = blob.read(at, min(_number(header[124:136]), NAME_MAX))
            if kind == LONG_NAME:
                name = content.split(b"\0")[0].decode("utf-8", "replace")
            elif kind == EXTENDED:
                name, size = _read_extended(content)
            at += _padded(_number(header[124:136]))
            continue
        if kind == SPARSE:
            raise UnreadableError("the tar holds sparse files, which are not supported")
        if kind in FILES:
            if at + length > blob.size:
                raise UnreadableError("the tar is cut short")
            yield Stored(name or _plain_name(header), at, length)
        at += _padded(length) if kind in FILES else 0
        name, size = "", None


def _plain_name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _read_extended(content: bytes) -> tuple[str, int | None]:
    name, size, at = "", None, 0
    while at < len(content):
        length, _, _ = content[at : at + 20].partition(b" ")
        if not length.isdigit() or not int(length):
            break
        key, _, value = content[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            name = value.decode("utf-8", "replace")
        elif key == b"size" and value.isdigit():
            size = int(value)
        at += int(length)
    return name, size


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def read_ar(blob: Blob) -> Iterator[Stored]:
    """Yield the files of an `ar` archive. Raises `UnreadableError` where it is broken."""
    at = len(AR_MAGIC)
    while at + AR_HEADER <= blob.size:
        header = blob.read(at, AR_HEADER)
        digits = header[48:58].strip()
        if header[58:60] != b"`\n" or not digits.isdigit():
            raise UnreadableError(f"the archive is broken at byte {at:#x}")
        size = int(digits)
        yield Stored(header[:16].decode("utf-8", "replace").strip(" /"), at + AR_HEADER, size)
        at += AR_HEADER + size + size % 2
