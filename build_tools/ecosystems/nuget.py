"""The NuGet package `Extism.Kernel`: the modules, embedded into the assembly that refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

MODULES = "kernel/"
CONTENT_TYPES = "[Content_Types].xml"


def make_files(kernel: Kernel) -> list[Member]:
    """Return `Extism.Kernel.VERSION.nupkg`."""
    modules = [Member(name=f"{MODULES}{each.name}", data=each.data) for each in kernel.files]
    members = [*modules, kernel.license, *fill_templates("nuget", kernel)]
    # The Open Packaging Conventions put the content types first, for readers of streams.
    members.sort(key=lambda member: (member.name != CONTENT_TYPES, member.name))
    package = make_zip(members, epoch=kernel.epoch)
    return [Member(name=f"Extism.Kernel.{kernel.version}.nupkg", data=package)]
