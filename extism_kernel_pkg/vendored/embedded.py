"""Looks through bytes of any kind for what begins like a module, as it is or written down as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm import HEADER
from extism_kernel_pkg.vendored.blob import PIECE
from extism_kernel_pkg.vendored.streams import BROKEN, MAGICS, make_decompressor
from extism_kernel_pkg.vendored.texts import (
    ARCHIVES_IN_BASE64,
    BACK,
    FINDERS,
    KERNEL_MAX,
    decode_base64,
)
from extism_kernel_pkg.vendored.zips import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
STREAM = re.compile(rb"\x1f\x8b\x08[\0-\x1f]|\x78[\x01\x5e\x9c\xda]|BZh[1-9]1AY&SY|\xfd7zXZ\0")
STREAM_HEAD = 10
"""Bytes that the longest of these signs has."""
STREAM_KINDS = {0x1F: "gzip", 0x78: "zlib", 0x42: "bzip2", 0xFD: "xz"}
TRIAL = 512
"""Bytes that show whether a sign is one: the two of zlib are in any binary by chance."""
ARCHIVES = (LOCAL, *MAGICS)


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


def find_streams(
    blob: Blob, begin: int, is_covered: Callable[[int], bool], budget: Budget
) -> Iterator[tuple[int, str]]:
    """Yield offset and kind of each compressed stream that has a module or an archive in it.

    What other streams hold is only unpacked, not looked into. Raises `BudgetError`.
    """
    end = begin
    for base in range(0, blob.size, CHUNK):
        budget.check()
        text = blob.read(base, CHUNK + TRIAL)
        for match in STREAM.finditer(text, 0, min(CHUNK + STREAM_HEAD - 1, len(text))):
            at = match.start()
            if at >= CHUNK or base + at < end or is_covered(base + at):
                continue
            budget.check()
            kind = STREAM_KINDS[text[at]]
            if not _may_begin(kind, text[at : at + TRIAL]):
                continue
            has_content, size = _probe(kind, blob, base + at, budget)
            end = base + at + size
            if has_content:
                yield base + at, kind


def _may_begin(kind: str, head: bytes) -> bool:
    try:
        make_decompressor(kind).decompress(head, TRIAL)
    except BROKEN:
        return False
    return True


def _probe(kind: str, blob: Blob, offset: int, budget: Budget) -> tuple[bool, int]:
    """Say whether a stream has a module or an archive in it, and how many bytes it is long; 0 if broken."""
    machine = make_decompressor(kind)
    has_content, seen, tail = False, 0, b""
    try:
        for piece in blob.pieces(offset):
            seen += len(piece)
            rest = piece
            while rest or not machine.needs_input:
                out = machine.decompress(rest, PIECE)
                rest = b""
                budget.spend(len(out))
                window = tail + out
                has_content = has_content or HEADER in window or (not tail and window.startswith(ARCHIVES))
                tail = window[1 - len(HEADER) :]
                if machine.eof:
                    return has_content, seen - len(machine.unused_data)
    except BROKEN:
        pass
    return has_content, 0
