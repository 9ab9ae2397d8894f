"""The kernel inside the library of `extism-sys`: where it lies, what it is, and how another takes its place.

    python embedded.py SDK KERNEL

puts KERNEL into the library of the private copy of the SDK in the folder SDK. The library holds the bytes
uncompressed and their number elsewhere, so the length stays: a custom section fills what is left.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

MAGIC = b"\0asm\1\0\0\0"
MARK = b"input_load_u64"
"""What the export section of every kernel holds, and that of no other module in the library."""
PADDING = "padding"


def find_library(sdk: Path) -> Path:
    """Return the one library of an installed `extism-sys`."""
    (library,) = sdk.glob("extism_sys/*extism_sys.*[!y]")
    return library


def find_kernel(data: bytes) -> tuple[int, int]:
    """Return start and end of the kernel in the bytes of a library. Raises ValueError if there is not one."""
    found: list[tuple[int, int]] = []
    start = data.find(MAGIC)
    while start >= 0:
        end = _find_end(data, start)
        if MARK in data[start:end]:
            found.append((start, end))
        start = data.find(MAGIC, start + 1)
    if len(found) != 1:
        raise ValueError(f"{len(found)} kernels are in the library, it should be one")
    return found[0]


def _find_end(data: bytes, start: int) -> int:
    """Return where the sections of a module end: the next one would be out of order, or none at all."""
    at, last = start + len(MAGIC), 0
    order = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10)  # section 12 stands before the code
    while at < len(data):
        number = data[at]
        size, body = _leb(data, at + 1)
        if number == 0:
            length, name = _leb(data, body)
            text = data[name : name + length]
            if not length or name + length > body + size or not text.isascii():
                break
        elif number not in order or order.index(number) <= last or not size:
            break
        else:
            last = order.index(number)
        if body + size > len(data):
            break
        at = body + size
    return at


def _leb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 28:
            return value, at


def pad(kernel: bytes, size: int) -> bytes:
    """Return a kernel with a custom section at its end that makes it `size` bytes long.

    Raises ValueError if it is longer than that, or too little shorter for a section.
    """
    rest = size - len(kernel)
    if rest == 0:
        return kernel
    if rest < 3:
        raise ValueError(
            f"the kernel has {len(kernel)} bytes; {size}, or at most {size - 3}, fit in its place"
        )
    width = 1 if rest < 0x80 + 2 else 2
    content = rest - 1 - width
    head = bytes([content] if width == 1 else [content & 0x7F | 0x80, content >> 7])
    name = PADDING.encode()[: content - 1]
    return kernel + b"\0" + head + bytes([len(name)]) + name + bytes(content - 1 - len(name))


def strip_padding(module: bytes) -> bytes:
    """Return a module without the section that `pad` put at its end."""
    at = last = len(MAGIC)
    while at < len(module):
        last = at
        size, body = _leb(module, at + 1)
        at = body + size
    length, name = _leb(module, _leb(module, last + 1)[1])
    text = module[name : name + length]
    is_padding = module[last] == 0 and PADDING.encode().startswith(text) and not any(module[name + length :])
    return module[:last] if is_padding else module


def embedded_digest(sdk: Path) -> str:
    """Return the digest of the kernel in an installed SDK, or `embedded` if it cannot be found."""
    data = find_library(sdk).read_bytes()
    try:
        start, end = find_kernel(data)
    except ValueError:
        return "embedded"
    return hashlib.sha256(strip_padding(data[start:end])).hexdigest()


def main() -> None:
    """Put the kernel in."""
    library, kernel = find_library(Path(sys.argv[1])), Path(sys.argv[2]).read_bytes()
    data = library.read_bytes()
    try:
        start, end = find_kernel(data)
        patched = data[:start] + pad(kernel, end - start) + data[end:]
    except ValueError as error:
        sys.exit(f"{library}: {error}")
    library.write_bytes(patched)
    digest = hashlib.sha256(kernel).hexdigest()
    note = f"This library was changed: its kernel was replaced by the one with the sha256 {digest}.\n"
    library.with_name("CHANGED.txt").write_text(note, encoding="utf-8")


if __name__ == "__main__":
    main()
