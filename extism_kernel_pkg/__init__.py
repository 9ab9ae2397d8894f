"""The Extism kernel as a resource: its bytes, its path and what is known about it.

Importing needs nothing but the standard library. The bytes are checked against their recorded digest the
first time they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_pkg._errors import KernelCorruptError, KernelNotStagedError, KernelResourceError
from extism_kernel_pkg._info import FlavourInfo, KernelExport, KernelInfo, ToolchainInfo, kernel_info
from extism_kernel_pkg._resource import Flavour, kernel_bytes, kernel_path

if TYPE_CHECKING:
    __version__: str
    KERNEL_SHA256: str

__all__ = [
    "KERNEL_SHA256",
    "Flavour",
    "FlavourInfo",
    "KernelCorruptError",
    "KernelExport",
    "KernelInfo",
    "KernelNotStagedError",
    "KernelResourceError",
    "ToolchainInfo",
    "__version__",
    "kernel_bytes",
    "kernel_info",
    "kernel_path",
]


def __getattr__(name: str) -> str:
    # Read when asked for, so that importing works, and says so, where no kernel is staged yet.
    if name == "__version__":
        return kernel_info().version
    if name == "KERNEL_SHA256":
        return kernel_info().flavours["context"].sha256
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
