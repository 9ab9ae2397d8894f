"""The kernel for C and C++: arrays, with CMake, pkg-config, Zig and the ESP-IDF as their builders.

One archive serves all: CMake's FetchContent and `zig fetch` take its URL, the ESP-IDF's component manager its
folder.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_tar_gz
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

BYTES_PER_LINE = 20
ZIG_NAME = "extism_kernel"
ZIG_ID = 0x6B65726E
"""Chosen once. Zig takes packages of one name and id for versions of one another."""


def make_files(kernel: Kernel) -> list[Member]:
    """Return `extism-kernel-c-VERSION.tar.gz`, with everything in one folder, and that folder."""
    stem = f"extism-kernel-c-{kernel.version}"
    # Zig wants the name's checksum in the upper half, so that a copied package is noticed.
    fingerprint = zlib.crc32(ZIG_NAME.encode()) << 32 | ZIG_ID
    templates = fill_templates(
        "c",
        kernel,
        FINGERPRINT=f"{fingerprint:#018x}",
        NUMBERS=re.split("[-+]", kernel.version)[0],
        CONTEXT_SIZE=str(len(kernel.module("context"))),
        CORE_SIZE=str(len(kernel.module("core"))),
        ZIG_PATHS=" ".join(f'"{each.name}",' for each in kernel.members()),
    )
    members = sorted([*kernel.members(), *templates, *_arrays(kernel)], key=lambda member: member.name)
    rooted = [Member(name=f"{stem}/{member.name}", data=member.data) for member in members]
    return [Member(name=f"{stem}.tar.gz", data=make_tar_gz(rooted, epoch=kernel.epoch)), *rooted]


def _arrays(kernel: Kernel) -> Iterator[Member]:
    """Yield each module as numbers, to be included between the braces of an array."""
    for flavour in kernel.info["flavours"]:
        module = kernel.module(flavour)
        lines = (module[at : at + BYTES_PER_LINE] for at in range(0, len(module), BYTES_PER_LINE))
        text = "\n".join(" ".join(f"0x{byte:02x}," for byte in line) for line in lines)
        yield Member(name=f"include/extism_kernel_{flavour}.inc", data=f"{text}\n".encode())
