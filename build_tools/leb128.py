"""The few encodings that a module writer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def encode_unsigned(value: int) -> bytes:
    """Return the shortest unsigned LEB128 of a number that is not negative."""
    if value < 0:
        raise ValueError(value)
    out = bytearray()
    while True:
        low = value & 0x7F
        value >>= 7
        if not value:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def encode_name(name: str) -> bytes:
    """Return a name as the binary format has it: length in bytes, then UTF-8."""
    data = name.encode()
    return encode_unsigned(len(data)) + data


def encode_vector(items: Iterable[bytes]) -> bytes:
    """Return a vector: the count, then the items."""
    parts = list(items)
    return encode_unsigned(len(parts)) + b"".join(parts)
