"""Compressed streams: gzip, bzip2, xz, LZMA, zlib, and zstd where Python has it; bounded in memory."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Protocol

from extism_kernel_pkg.vendored.blob import PIECE
from extism_kernel_pkg.vendored.budget import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LZMA_MEMORY = 100 << 20
"""Bytes that unpacking LZMA may take; `xz -9` needs 65 MiB."""
MAGICS: dict[bytes, str] = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
LZMA_ALONE = b"\x5d\0\0"
ZLIB_HEADERS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
BROKEN = (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class Decompressor(Protocol):
    """What the standard library's decompressors of bzip2, xz and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Say whether the end of the stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Say whether nothing more comes without more input."""

    @property
    def unused_data(self) -> bytes:
        """Return what was given beyond the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return what more input gives, at most `max_length` bytes of it."""


class _Zlib:
    """zlib's decompressor with the interface of the others."""

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))


def find_kind(head: bytes, name: str) -> str | None:
    """Return which kind of stream begins like that, or None."""
    for magic, kind in MAGICS.items():
        if head.startswith(magic):
            return kind
    if head.startswith(LZMA_ALONE) and (head[5:13] == b"\xff" * 8 or name.endswith((".lzma", ".tlz"))):
        return "lzma"
    return "zlib" if head.startswith(ZLIB_HEADERS) else None


def make_decompressor(kind: str) -> Decompressor:
    """Return a new decompressor. Raises `UnreadableError` for zstd where Python has none."""
    if kind == "zstd":
        try:
            zstd: Any = importlib.import_module("compression.zstd")
        except ImportError:
            raise UnreadableError("it is compressed with zstd, which needs Python 3.14 or newer") from None
        made: Decompressor = zstd.ZstdDecompressor()
        return made
    makers: dict[str, Callable[[], Decompressor]] = {
        "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
        "zlib": lambda: _Zlib(zlib.MAX_WBITS),
        "deflate": lambda: _Zlib(-zlib.MAX_WBITS),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY),
        "lzma": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY),
    }
    return makers[kind]()


def decompress(kind: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield unpacked bytes, of all streams that follow one another.

    Raises `UnreadableError` where the data is broken or cut short; what came before was yielded.
    """
    machine = make_decompressor(kind)
    is_first, rest = True, b""
    try:
        for piece in pieces:
            rest += piece
            while rest:
                if machine.eof:
                    machine, is_first = make_decompressor(kind), False
                out = machine.decompress(rest, PIECE)
                rest = b""
                yield out
                while not machine.eof and not machine.needs_input:
                    yield machine.decompress(b"", PIECE)
                if machine.eof:
                    rest = machine.unused_data
                    if not _may_continue(kind, rest):
                        return
    except BROKEN as error:
        if is_first:
            raise UnreadableError(f"its {kind} data is broken ({error})") from None
        return  # bytes after the end of a stream are padding, not a fault
    if not machine.eof and is_first:
        raise UnreadableError(f"its {kind} data is cut short")


def _may_continue(kind: str, rest: bytes) -> bool:
    """Say whether another stream may follow: only gzip, bzip2, xz and zstd are joined by appending."""
    return kind in MAGICS.values() and rest[:1] not in {b"\0", b""}
