"""Bytes that can be read at any place without being in memory: a file, a part of one, or unpacked ones."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from extism_kernel_pkg.vendored.budget import Budget

IN_MEMORY = 16 << 10
"""Unpacked bytes that are kept in memory; more go to a temporary file."""
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """`size` bytes of `file` from `start` on."""

    file: IO[bytes]
    start: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at an offset; fewer at the end."""
        count = min(count, self.size - offset)
        if count <= 0 or offset < 0:
            return b""
        self.file.seek(self.start + offset)
        return self.file.read(count)

    def part(self, offset: int, size: int) -> Blob:
        """Return a part, cut at the end of this one."""
        offset = min(max(offset, 0), self.size)
        return Blob(self.file, self.start + offset, max(min(size, self.size - offset), 0))

    def pieces(self, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from an offset on, in order."""
        end = self.size if size is None else min(offset + size, self.size)
        while offset < end:
            piece = self.read(offset, min(PIECE, end - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece


def spool(pieces: Iterable[bytes], budget: Budget) -> Blob:
    """Return the pieces joined. Raises what `pieces` raises, and `BudgetError`."""
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed with its last user
    size = 0
    try:
        for piece in pieces:
            budget.spend(len(piece))
            file.write(piece)
            size += len(piece)
    except BaseException:
        file.close()
        raise
    return Blob(file, 0, size)
