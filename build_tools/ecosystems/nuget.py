"""The NuGet package `Extism.Kernel`: the modules as content files, to be embedded into assemblies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

CONTENT = "contentFiles/any/any/extism/"
CONTENT_TYPES = "[Content_Types].xml"


def make_files(kernel: Kernel) -> list[Member]:
    """Return `Extism.Kernel.VERSION.nupkg`."""
    license_ = kernel.license
    content = [member for member in kernel.members(CONTENT) if not member.name.endswith(f"/{license_.name}")]
    templates = fill_templates("nuget", {"VERSION": kernel.version})
    members = [*content, license_, *templates]
    # The Open Packaging Conventions put the content types first, for readers of streams.
    members.sort(key=lambda member: (member.name != CONTENT_TYPES, member.name))
    package = make_zip(members, epoch=kernel.epoch)
    return [Member(name=f"Extism.Kernel.{kernel.version}.nupkg", data=package)]
