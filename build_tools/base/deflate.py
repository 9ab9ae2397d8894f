"""Deflate (RFC 1951) whose output depends on its input alone.

zlib promises that what it packs can be unpacked, not that two of its versions, or zlib-ng in its place,
pack alike. Archives that are compared by digest over machines and years need that promise. The price is
time: a second or two for each MB.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter

__all__ = ["deflate", "gzip_deterministic"]

WINDOW = 32_768
MATCH_MIN, MATCH_MAX = 3, 258
CHAIN_MAX = 24
"""Earlier places that are tried for one match; more makes little smaller and much slower."""
BLOCK_TOKENS = 16_384
END_OF_BLOCK = 256
CODE_BITS_MAX, HEADER_BITS_MAX = 15, 7
HEADER_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

# RFC 1951, 3.2.5: the first value of each code and the bits that follow it.
LENGTH_BITS = (0,) * 8 + tuple(bits for bits in range(1, 6) for _ in range(4)) + (0,)
LENGTH_BASE = (*(3 + sum(1 << bits for bits in LENGTH_BITS[:at]) for at in range(28)), 258)
DISTANCE_BITS = (0, 0, *(bits for bits in range(14) for _ in range(2)))
DISTANCE_BASE = tuple(1 + sum(1 << bits for bits in DISTANCE_BITS[:at]) for at in range(30))
LENGTH_CODE = tuple(
    next(code for code in range(28, -1, -1) if LENGTH_BASE[code] <= max(length, MATCH_MIN))
    for length in range(MATCH_MAX + 1)
)

MATCH_SHIFT = 16
"""A token is a literal byte, or the length of a match above this many bits that hold its distance."""


class _Bits:
    """Bits, lowest first, gathered into bytes."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.held = self.count = 0

    def put(self, value: int, width: int) -> None:
        self.held |= value << self.count
        self.count += width
        while self.count >= 32:  # noqa: PLR2004 - words at a time, for speed alone
            self.out += (self.held & 0xFFFFFFFF).to_bytes(4, "little")
            self.held >>= 32
            self.count -= 32

    def finish(self) -> bytes:
        self.out += self.held.to_bytes((self.count + 7) // 8, "little")
        return bytes(self.out)


def deflate(data: bytes) -> bytes:
    """Return `data` as a raw deflate stream, the same bytes for the same input on every machine."""
    tokens = _find_matches(data)
    bits = _Bits()
    blocks = [tokens[at : at + BLOCK_TOKENS] for at in range(0, len(tokens), BLOCK_TOKENS)] or [[]]
    for number, block in enumerate(blocks, start=1):
        _write_block(bits, block, is_last=number == len(blocks))
    return bits.finish()


def gzip_deterministic(data: bytes, *, epoch: int) -> bytes:
    """Return `data` as a gzip file (RFC 1952) dated `epoch`, in seconds since 1970, without a file name."""
    header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, epoch & 0xFFFFFFFF, 0, 255)
    return header + deflate(data) + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def _find_chains(data: bytes) -> list[int]:
    """Return for each place the nearest one before it where the same three bytes stand, or -1."""
    before = [-1] * len(data)
    last: dict[bytes, int] = {}
    find = last.get
    for place in range(len(data) - MATCH_MIN + 1):
        key = data[place : place + MATCH_MIN]
        before[place] = find(key, -1)
        last[key] = place
    return before


def _find_matches(data: bytes) -> list[int]:
    """Return the tokens of `data`: the longest match of those tried, and of equally long ones the nearest."""
    before = _find_chains(data)
    tokens: list[int] = []
    add, stands_at, read = tokens.append, data.startswith, int.from_bytes
    at = 0
    while at < len(data):
        candidate, oldest = before[at], max(0, at - WINDOW)
        if candidate < oldest:
            add(data[at])
            at += 1
            continue
        ahead = data[at : at + MATCH_MAX]
        number = read(ahead, "little")
        best = best_at = 0
        wanted = b""
        for _ in range(CHAIN_MAX):
            if candidate < oldest:
                break
            if stands_at(wanted, candidate):  # only what is longer than the best so far is of use
                differing = number ^ read(data[candidate : candidate + len(ahead)], "little")
                best_at = candidate
                if differing == 0:
                    best = len(ahead)
                    break
                best = ((differing & -differing).bit_length() - 1) // 8  # up to the first byte that differs
                wanted = ahead[: best + 1]
            candidate = before[candidate]
        add(best << MATCH_SHIFT | at - best_at)
        at += best
    return tokens


def _write_block(bits: _Bits, tokens: list[int], *, is_last: bool) -> None:
    """Write one block with codes of its own (RFC 1951, 3.2.7)."""
    times = Counter(tokens)
    symbols = {token: _symbols(token) for token in times}
    literal_counts, distance_counts = [0] * 286, [0] * 30
    literal_counts[END_OF_BLOCK] = 1
    for token, (literal, _, _, distance, _, _) in symbols.items():
        literal_counts[literal] += times[token]
        if distance >= 0:
            distance_counts[distance] += times[token]
    literals = code_lengths(literal_counts, CODE_BITS_MAX)
    distances = code_lengths(distance_counts, CODE_BITS_MAX)
    while len(literals) > 257 and literals[-1] == 0:  # noqa: PLR2004 - RFC 1951: HLIT is at least 257
        literals.pop()
    while len(distances) > 1 and distances[-1] == 0:
        distances.pop()
    bits.put(int(is_last) | 2 << 1, 3)
    _write_lengths(bits, literals, distances)
    literal_codes, distance_codes = _codes(literals), _codes(distances)
    packed: dict[int, tuple[int, int]] = {}
    for token, (literal, extra, width, distance, distance_extra, distance_width) in symbols.items():
        value, count = literal_codes[literal]
        if distance >= 0:
            code, code_width = distance_codes[distance]
            value |= extra << count
            count += width
            value |= (code | distance_extra << code_width) << count
            count += code_width + distance_width
        packed[token] = value, count
    for token in tokens:
        bits.put(*packed[token])
    bits.put(*literal_codes[END_OF_BLOCK])


def _symbols(token: int) -> tuple[int, int, int, int, int, int]:
    """Return a token's code, what follows it and how wide, and the same of its distance (code -1: none)."""
    length, distance = token >> MATCH_SHIFT, token & (1 << MATCH_SHIFT) - 1
    if length == 0:
        return token, 0, 0, -1, 0, 0
    code = LENGTH_CODE[length]
    width = (distance - 1).bit_length()
    # Two codes for each power of two: the bit below the highest one says which.
    at = distance - 1 if width <= 1 else 2 * (width - 1) + (distance - 1 >> width - 2 & 1)
    extra = length - LENGTH_BASE[code]
    return 257 + code, extra, LENGTH_BITS[code], at, distance - DISTANCE_BASE[at], DISTANCE_BITS[at]


def _write_lengths(bits: _Bits, literals: list[int], distances: list[int]) -> None:
    runs = list(_runs(literals + distances))
    counts = [0] * 19
    for code, _, _ in runs:
        counts[code] += 1
    lengths = code_lengths(counts, HEADER_BITS_MAX)
    ordered = [lengths[code] for code in HEADER_ORDER]
    while len(ordered) > 4 and ordered[-1] == 0:  # noqa: PLR2004 - RFC 1951: HCLEN is at least 4
        ordered.pop()
    bits.put(len(literals) - 257, 5)
    bits.put(len(distances) - 1, 5)
    bits.put(len(ordered) - 4, 4)
    for length in ordered:
        bits.put(length, 3)
    codes = _codes(lengths)
    for code, extra, width in runs:
        bits.put(*codes[code])
        bits.put(extra, width)


def _runs(lengths: list[int]) -> list[tuple[int, int, int]]:
    """Return code lengths as codes of the header: zeros in runs, all others by themselves."""
    runs: list[tuple[int, int, int]] = []
    at = 0
    while at < len(lengths):
        end = at
        while end < len(lengths) and lengths[end] == 0 and end - at < 138:  # noqa: PLR2004 - code 18's longest run
            end += 1
        zeros = end - at
        if zeros >= 11:  # noqa: PLR2004 - code 18's shortest run
            runs.append((18, zeros - 11, 7))
        elif zeros >= 3:  # noqa: PLR2004 - code 17's shortest run
            runs.append((17, zeros - 3, 3))
        else:
            zeros = 1
            runs.append((lengths[at], 0, 0))
        at += zeros
    return runs


def code_lengths(counts: list[int], limit: int) -> list[int]:
    """Return the code length of each symbol, 0 for one that is not used: optimal ones up to `limit` bits.

    The package-merge algorithm (Larmore and Hirschberg, 1990). One symbol alone gets one bit.
    """
    lengths = [0] * len(counts)
    leaves = sorted((count, (symbol,)) for symbol, count in enumerate(counts) if count)
    if len(leaves) <= 1:
        for _, (symbol,) in leaves:
            lengths[symbol] = 1
        return lengths
    merged: list[tuple[int, tuple[int, ...]]] = list(leaves)
    for _ in range(limit - 1):
        pairs = zip(merged[::2], merged[1::2], strict=False)
        merged = sorted([*leaves, *((one[0] + two[0], one[1] + two[1]) for one, two in pairs)])
    for _, symbols in merged[: 2 * len(leaves) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


def _codes(lengths: list[int]) -> list[tuple[int, int]]:
    """Return the canonical code of each symbol (RFC 1951, 3.2.2), first bit lowest, and its width."""
    codes = [(0, 0)] * len(lengths)
    code = 0
    for width in range(1, CODE_BITS_MAX + 1):
        code <<= 1
        for symbol, length in enumerate(lengths):
            if length == width:
                codes[symbol] = (int(f"{code:0{width}b}"[::-1], 2), width)
                code += 1
    return codes
