"""Kernels written down as text: base64, arrays of numbers, hex, escapes in string literals.

Each finder is called where its anchor is; it returns where the text begins and the bytes that it stands for,
or None.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    Finder = Callable[[bytes, int], "tuple[int, bytes] | None"]

KERNEL_MAX = 1 << 20
"""Bytes of the largest kernel that is looked for; upstream's largest has 804,844, ours under 4,000."""
BACK = 160
"""How far before an anchor the text may begin."""

_SIXTY_FOUR = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_JOIN = re.compile(rb"(?:\\[rn]|[\s\"'`,\\]){1,200}")
"""What may stand between the parts of one text: ends of lines, quotes, commas; `+` is of the alphabet."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_NUMBER = re.compile(
    rb"(?:\(\s*(?:byte|char|u?int8(?:_t)?)\s*\)\s*)?"
    rb"(?:(0[xX][0-9a-fA-F]{1,8})|(-?\d{1,3})|'(\\?[\x20-\x7e])')"
    rb"(?:_?u8|[uU]?[lL]{0,2}|\.toByte\(\))?"
)
_BETWEEN = re.compile(rb"(?:[\s,;&|]|/\*[^*]{0,200}\*/|//[^\n]{0,200}\n|\\\n){1,400}")
_CAST = rb"(?:\(\s*(?:byte|char|u?int8(?:_t)?)\s*\)\s*)?"
_GAP = rb"(?:_?u8|[uU])?(?:[\s,]|/\*[^*]{0,60}\*/)+"
_ARRAY_HEAD = re.compile(
    rb"(?<![\w.])"
    + _CAST
    + rb"0(?:[xX]0{1,2})?"
    + _GAP
    + _CAST
    + rb"(?:0[xX]61|97|'a')"
    + _GAP
    + _CAST
    + rb"$"
)
_HEX = re.compile(rb"[0-9a-fA-F]+")
_ESCAPE_HEAD = re.compile(rb"(?:\\x00|\\u0000|\\u\{0+\}|\\0{1,3})(?:a|\\x61|\\u0061|\\141|\\61)$")
_ESCAPE = re.compile(
    rb"\\x([0-9a-fA-F]{1,2})|\\u00([0-9a-fA-F]{2})|\\u\{([0-9a-fA-F]{1,2})\}|\\([0-7]{1,3})"
    rb"|\\([abtnvfre\\'\"`$?])|([^\\\r\n])"
)
_WAT = re.compile(rb"\\([0-9a-fA-F]{2})|\\([tnr\\'\"])|([^\\\r\n])")
_CONTINUED = re.compile(rb"\\\r?\n\s*")
_JOINED = re.compile(rb"[\"'`]\s*(?:[+.,\\]\s*)?[bBrRuU]?[\"'`]")
_LETTERS = {
    b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b"e": 27,
}  # fmt: skip


def find_base64(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode base64 that begins at its anchor: plain, URL-safe, in lines, in pieces of a string literal."""
    parts, size, start = [], 0, at
    while size < KERNEL_MAX // 3 * 4:
        match = _SIXTY_FOUR.match(text, at, at + KERNEL_MAX // 3 * 4 - size)
        if match is None:
            break
        part, at = match[0], match.end()
        if part != b"+":  # alone between quotes it joins literals
            parts.append(part.rstrip(b"="))
            size += len(parts[-1])
        if part.endswith(b"="):
            break
        gap = _JOIN.match(text, at)
        if gap is None:
            break
        at = gap.end()
    return start, decode_base64(b"".join(parts))


def decode_base64(letters: bytes) -> bytes:
    """Decode letters of either alphabet; a last one that stands for less than a byte is dropped."""
    letters = letters.translate(_URL_SAFE)
    letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


def find_array(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode an array of numbers, hex or decimal, as C, Rust, Go, Java, C#, Zig and JavaScript write them."""
    before = max(at - BACK, 0)
    head = _ARRAY_HEAD.search(text[before:at])
    if head is None:
        return None
    start = at = before + head.start()
    out = bytearray()
    while len(out) < KERNEL_MAX:
        match = _NUMBER.match(text, at)
        if match is None:
            break
        value = _value(match)
        if value is None:
            break
        out.append(value)
        if len(out) == len(HEADER) and out != HEADER:
            return None
        gap = _BETWEEN.match(text, match.end())
        if gap is None:
            break
        at = gap.end()
    return start, bytes(out)


def _value(match: re.Match[bytes]) -> int | None:
    if match[1]:
        value = int(match[1], 16)
    elif match[2]:
        value = int(match[2])
    else:
        value = match[3][-1] if len(match[3]) == 1 else _LETTERS.get(match[3][1:], match[3][-1])
    return value & 0xFF if -0x80 <= value <= 0xFF else None  # noqa: PLR2004 - a byte, signed or not


def find_hex(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode a string of hex digits, in lines or pieces too."""
    parts, size, start = [], 0, at
    while size < 2 * KERNEL_MAX:
        match = _HEX.match(text, at, at + 2 * KERNEL_MAX - size)
        if match is None:
            break
        parts.append(match[0])
        size += len(match[0])
        gap = _JOIN.match(text, match.end())
        if gap is None:
            break
        at = gap.end()
        at += text[at : at + 1] == b"+" and 1
        again = _JOIN.match(text, at)
        at = again.end() if again else at
    letters = b"".join(parts)
    return start, bytes.fromhex(letters[: len(letters) // 2 * 2].decode("ascii"))


def find_escapes(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode a string literal with escapes, as C, Python, JavaScript and `printf` write them."""
    start = _find_literal(text, at)
    return None if start is None else (start, _unescape(text, start, _ESCAPE))


def find_wat(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode a string of the text format, whose escapes of two hex digits may look like octal ones."""
    start = _find_literal(text, at)
    if start is None:
        return None
    data = _unescape(text, start, _WAT)
    return None if data == _unescape(text, start, _ESCAPE) else (start, data)


def _find_literal(text: bytes, at: int) -> int | None:
    before = max(at - BACK, 0)
    head = _ESCAPE_HEAD.search(text[before:at])
    return None if head is None else before + head.start()


def _unescape(text: bytes, at: int, pattern: re.Pattern[bytes]) -> bytes:
    opening = text[at - 1 : at]
    closing = opening if opening in {b'"', b"'", b"`"} else b"\"'`"
    out = bytearray()
    while len(out) < KERNEL_MAX:
        is_end = text[at : at + 1] in closing  # at the end of the text, too
        match = None if is_end else pattern.match(text, at)
        if match is not None:
            out.append(_unescaped(match, is_wat=pattern is _WAT))
            if len(out) == len(HEADER) and out != HEADER:
                break
        else:
            match = (_JOINED if is_end else _CONTINUED).match(text, at)
            if match is None:
                break
        at = match.end()
    return bytes(out)


def _unescaped(match: re.Match[bytes], *, is_wat: bool) -> int:
    group = match.lastindex or 1
    value: bytes = match[group]
    if is_wat:
        kind = ("hex", "letter", "plain")[group - 1]
    else:
        kind = ("hex", "hex", "hex", "octal", "letter", "plain")[group - 1]
    if kind == "hex":
        return int(value, 16)
    if kind == "octal":
        return int(value, 8) & 0xFF
    return _LETTERS.get(value, value[0]) if kind == "letter" else value[0]


ARRAY_ANCHORS = (b"0x73", b"0X73", b"115", b"'s'")
# What stands for `sm` follows what `_ESCAPE_HEAD` ends with.
ESCAPE_ANCHORS = (b"sm\\", b"\\x73\\x6d", b"\\x73\\x6D", b"\\u0073\\u006d", b"\\163\\155")
WAT_ANCHORS = (b"sm\\", b"\\73\\6d", b"\\73\\6D")
FINDERS: tuple[tuple[bytes, Finder], ...] = (
    (b"AGFzbQEAAA", find_base64),
    (b"0061736d01000000", find_hex),
    (b"0061736D01000000", find_hex),
    *((anchor, find_array) for anchor in ARRAY_ANCHORS),
    *((anchor, find_escapes) for anchor in ESCAPE_ANCHORS),
    *((anchor, find_wat) for anchor in WAT_ANCHORS),
)
"""Anchors that are looked for in any bytes."""

ARCHIVES_IN_BASE64 = (b"H4sI", b"UEsDB", b"/Td6WF", b"QlpoO", b"KLUv/")
"""How gzip, zip, xz, bzip2 and zstd begin in base64."""
