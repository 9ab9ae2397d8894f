"""The few encodings that a writer of modules needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm.declarations import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable


def encode_unsigned(value: int) -> bytes:
    """Return the shortest unsigned LEB128 of a number that is not negative. Raises `ValueError` otherwise."""
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


def encode_signed(value: int) -> bytes:
    """Return the signed LEB128 encoding of any integer."""
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if (value, byte & 0x40) in {(0, 0), (-1, 0x40)}:
            return bytes((*out, byte))
        out.append(byte | 0x80)


def encode_name(name: str) -> bytes:
    """Return a name as the binary format has it: length in bytes, then UTF-8."""
    data = name.encode()
    return encode_unsigned(len(data)) + data


def encode_vector(items: Iterable[bytes]) -> bytes:
    """Return a vector: the count, then the items."""
    parts = list(items)
    return encode_unsigned(len(parts)) + b"".join(parts)


def encode_section(number: int, content: bytes) -> bytes:
    """Return a section: its id, its size, its content."""
    return bytes((number,)) + encode_unsigned(len(content)) + content


def encode_custom(name: str, content: bytes) -> bytes:
    """Return a custom section: id 0, and the name before the content."""
    return encode_section(0, encode_name(name) + content)


def encode_export(name: str, kind: str, index: int) -> bytes:
    """Return one entry of the export section; `kind` as in `Export`."""
    return encode_name(name) + bytes((KINDS.index(kind),)) + encode_unsigned(index)
