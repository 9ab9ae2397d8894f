"""LEB128 as WebAssembly uses it."""

from __future__ import annotations

_GROUP = 0x7F
_MORE = 0x80
_SIGN = 0x40


def write_unsigned(value: int) -> bytes:
    """Return an unsigned number in as few bytes as it needs."""
    out = bytearray()
    while value > _GROUP:
        out.append(value & _GROUP | _MORE)
        value >>= 7
    return bytes((*out, value))


def write_signed(value: int) -> bytes:
    """Return a signed number in as few bytes as it needs."""
    out = bytearray()
    while not -_SIGN <= value < _SIGN:
        out.append(value & _GROUP | _MORE)
        value >>= 7
    return bytes((*out, value & _GROUP))


def read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at an offset and the offset behind it."""
    value = shift = 0
    while True:
        group = data[at]
        value |= (group & _GROUP) << shift
        at, shift = at + 1, shift + 7
        if group < _MORE:
            return value, at


def read_signed(data: bytes, at: int) -> tuple[int, int]:
    """Return the signed number at an offset and the offset behind it."""
    start = at
    value, at = read_unsigned(data, at)
    if data[at - 1] & _SIGN:
        value -= 1 << 7 * (at - start)
    return value, at
