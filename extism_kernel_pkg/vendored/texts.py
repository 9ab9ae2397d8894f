"""Kernels written down as text: base64, arrays of numbers, hex, escapes in string literals.

Each finder is called where its anchor is; it returns where the text begins and the bytes that it stands for,
or None.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Finder = Callable[[bytes, int], "tuple[int, bytes] | None"]

KERNEL_MAX = 1 << 20
"""Bytes of the largest kernel that is looked for; upstream's largest has 804,844, ours under 4,000."""
MAGIC = b"\0asm\1\0\0\0"
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
_ARRAY_HEAD = re.compile(
    rb"(?<![\w.])(?:\(\s*(?:byte|char|u?int8(?:_t)?)\s*\)\s*)?0(?:[xX]0{1,2})?(?:_?u8|[uU])?[\s,]+"
    rb"(?:\(\s*(?:byte|char|u?int8(?:_t)?)\s*\)\s*)?(?:0[xX]61|97|'a')(?:_?u8|[uU])?[\s,]+"
    rb"(?:\(\s*(?:byte|char|u?int8(?:_t)?)\s*\)\s*)?$"
)
_HEX = re.compile(rb"[0-9a-fA-F]+")
_ESCAPE_HEAD = re.compile(rb"(?:\\x00|\\u0000|\\u\{0+\}|\\0{1,3})(?:a|\\x61|\\u0061|\\141|\\61)$")
_ESCAPE = re.compile(
    rb"\\x([0-9a-fA-F]{1,2})|\\u00([0-9a-fA-F]{2})|\\u\{([0-9a-fA-F]{1,2})\}|\\([0-7]{1,3})"
    rb"|\\([abtnvfre\\'\"`$?])|([^\\\"'`\r\n])"
)
_WAT = re.compile(rb"\\([0-9a-fA-F]{2})|\\([tnr\\'\"])|([^\\\"\r\n])")
_QUOTES = re.compile(rb"(?:\\\r?\n|[\"'`]\s*(?:[+.,\\]\s*)?(?:[bBrRuU]?[\"'`]))[\s]*")
_LETTERS = {
    b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b"e": 27,
}  # fmt: skip


def find_base64(text: bytes, at: int) -> tuple[int, bytes] | None:
    """Decode base64 that begins at its anchor: plain, URL-safe, in lines, in pieces of a string literal."""
    parts, size, start = [], 0, at
    while size < KERNEL_MAX // 3 * 4:
        match = _SIXTY_FOUR.match(text, at)
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
        match = _HEX.match(text, at)
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
    """Decode a string literal with escapes, as C, Python, JavaScript, `printf` and WAT write them."""
    before = max(at - BACK, 0)
    head = _ESCAPE_HEAD.search(text[before:at])
    if head is None:
        return None
    start = before + head.start()
    plain, wat = _unescape(text, start, _ESCAPE), _unescape(text, start, _WAT)
    return start, max(plain, wat, key=lambda data: (data.startswith(MAGIC), len(data)))


def _unescape(text: bytes, at: int, pattern: re.Pattern[bytes]) -> bytes:
    out = bytearray()
    while len(out) < KERNEL_MAX:
        match = pattern.match(text, at)
        if match is None:
            quotes = _QUOTES.match(text, at)
            if quotes is None:
                break
            at = quotes.end()
            continue
        out.append(_unescaped(match, is_wat=pattern is _WAT))
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
FINDERS: tuple[tuple[bytes, Finder], ...] = (
    (b"AGFzbQEAAA", find_base64),
    *((anchor, find_array) for anchor in ARRAY_ANCHORS),
    (b"0061736d01000000", find_hex),
    (b"0061736D01000000", find_hex),
    # What stands for `sm` follows what `_ESCAPE_HEAD` ends with.
    (b"sm\\", find_escapes),
    (b"\\x73\\x6d", find_escapes),
    (b"\\x73\\x6D", find_escapes),
    (b"\\u0073\\u006d", find_escapes),
    (b"\\163\\155", find_escapes),
    (b"\\73\\6d", find_escapes),
)
"""Anchors that are looked for in any bytes."""

ARCHIVES_IN_BASE64 = (b"H4sI", b"UEsDB", b"/Td6WF", b"QlpoO", b"KLUv/")
"""How gzip, zip, xz, bzip2 and zstd begin in base64."""
