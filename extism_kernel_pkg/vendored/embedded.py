"""Looks through bytes of any kind for what begins like a module, as it is or written down as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm import HEADER
from extism_kernel_pkg.vendored.texts import (
    ARCHIVES_IN_BASE64,
    BACK,
    FINDERS,
    KERNEL_MAX,
    decode_base64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.vendored.blob import Blob
    from extism_kernel_pkg.vendored.budget import Budget
    from extism_kernel_pkg.vendored.texts import Finder

CHUNK = 4 << 20
AHEAD = 3 * KERNEL_MAX // 2
"""Bytes after a chunk that are read with it: what begins at its end must be there whole."""
FIRST_SECTIONS = (0, 1)
"""Ids of the section that a kernel may begin with: a custom one, or its types."""
LETTERS = re.compile(rb"[A-Za-z0-9+/_-]{32}")
NOT_LETTERS = re.compile(rb"[^A-Za-z0-9+/_-]")
FORMS = {
    "find_base64": "base64",
    "find_array": "array of numbers",
    "find_hex": "hex digits",
    "find_escapes": "string with escapes",
    "find_wat": "string of the text format",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Bytes that begin like a module; anything may follow the module in `data`."""

    offset: int
    form: str
    data: bytes


def find_candidates(blob: Blob, begin: int, budget: Budget) -> Iterator[Candidate]:
    """Yield what begins like a module from byte `begin` on, in every form. Raises `BudgetError`."""
    for base in range(0, blob.size, CHUNK):
        budget.check()
        lead = min(base, BACK)
        text = blob.read(base - lead, lead + CHUNK + AHEAD)
        low, high = max(lead, begin - base + lead), min(lead + CHUNK, len(text))
        yield from _find_modules(text, low, high, base - lead, budget)
        for anchor, find in FINDERS:
            yield from _find_texts(text, low, high, base - lead, anchor, find, budget)


def _find_modules(text: bytes, low: int, high: int, base: int, budget: Budget) -> Iterator[Candidate]:
    view = memoryview(text)
    at = text.find(HEADER, low)
    while 0 <= at < high:
        budget.check()
        if at + len(HEADER) < len(text) and text[at + len(HEADER)] in FIRST_SECTIONS:
            yield Candidate(base + at, "module", view[at : at + KERNEL_MAX])  # type: ignore[arg-type]
        at = text.find(HEADER, at + len(HEADER))


def _find_texts(  # noqa: PLR0913, PLR0917 - one window and what to look for in it
    text: bytes, low: int, high: int, base: int, anchor: bytes, find: Finder, budget: Budget
) -> Iterator[Candidate]:
    at = text.find(anchor, low)
    count = 0
    while 0 <= at < high:
        count += 1
        if count % 256 == 0:
            budget.check()
        found = find(text, at)
        if found is not None and found[1].startswith(HEADER):
            budget.check()
            yield Candidate(base + found[0], FORMS[find.__name__], found[1])
        at = text.find(anchor, at + 1)


def find_archives(blob: Blob, budget: Budget) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield the offset of each base64 that begins like an archive, and its bytes. Raises `BudgetError`."""
    longest = max(map(len, ARCHIVES_IN_BASE64))
    for base in range(0, blob.size, CHUNK):
        budget.check()
        text = blob.read(base, CHUNK + longest)
        for anchor in ARCHIVES_IN_BASE64:
            at = text.find(anchor)
            while 0 <= at < CHUNK:
                before = blob.read(base + at - 1, 1) if base + at else b""
                if LETTERS.match(blob.read(base + at, 32)) and not LETTERS_BEFORE.match(before):
                    yield base + at, _decode(blob, base + at)
                budget.check()
                at = text.find(anchor, at + 1)


LETTERS_BEFORE = re.compile(rb"[A-Za-z0-9+/_-]")


def _decode(blob: Blob, offset: int) -> Iterator[bytes]:
    """Yield the bytes of base64 in one run, or in lines, up to what is none of it."""
    rest = b""
    for piece in blob.pieces(offset):
        text = b"".join(piece.replace(b"\\n", b"\n").split())
        end = NOT_LETTERS.search(text)
        letters = rest + (text[: end.start()] if end else text)
        cut = len(letters) if end else len(letters) // 4 * 4
        rest = letters[cut:]
        yield decode_base64(letters[:cut])
        if end:
            return
    yield decode_base64(rest)
