"""The bytes, checked against their digest once for each flavour."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from extism_kernel_pkg._errors import KernelCorruptError, KernelNotStagedError
from extism_kernel_pkg._info import BUILD, FLAVOURS, REINSTALL, Flavour, kernel_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Flavour", "kernel_bytes", "kernel_path"]

PACKAGE = __name__.rpartition(".")[0]


@functools.cache
def kernel_bytes(flavour: Flavour = "context") -> bytes:
    """Return the kernel module.

    `context` also exports the global `extism_context`, which the Rust host needs; `core` is the same code
    without it, for runtimes without reference types (S-4 in CONTRACT.md). Raises `KernelNotStagedError` if
    none was built, `KernelCorruptError` if the bytes differ from their recorded digest, `ValueError` for
    another flavour.
    """
    if flavour not in FLAVOURS:
        message = f"flavour {flavour!r}; there are {', '.join(FLAVOURS)}"
        raise ValueError(message)
    import hashlib  # noqa: PLC0415 - this and `importlib.resources` take longer than all the rest
    from importlib.resources import files  # noqa: PLC0415

    info = kernel_info().flavours[flavour]
    try:
        data = files(PACKAGE).joinpath(info.file).read_bytes()
    except FileNotFoundError:
        message = f"`{info.file}` is missing from `{PACKAGE}`; {BUILD}"
        raise KernelNotStagedError(message) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != info.sha256:
        message = f"`{info.file}` has digest {digest}, should be {info.sha256}; {REINSTALL}"
        raise KernelCorruptError(message)
    return data


@contextlib.contextmanager
def kernel_path(flavour: Flavour = "context") -> Iterator[Path]:
    """Yield the path of a file with the kernel module, for tools that want a file.

    From a zip file it is a temporary one, gone when the block ends. Raises as `kernel_bytes` does.
    """
    from importlib.resources import as_file, files  # noqa: PLC0415 - as above

    kernel_bytes(flavour)
    with as_file(files(PACKAGE).joinpath(kernel_info().flavours[flavour].file)) as path:
        yield path
