"""The Maven artifact `org.extism:extism-kernel`: a jar of resources, and its POM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

RESOURCES = "META-INF/extism/"
MANIFEST = "META-INF/MANIFEST.MF"
POM = "META-INF/maven/org.extism/extism-kernel/pom.xml"


def make_files(kernel: Kernel) -> list[Member]:
    """Return the jar and, beside it, the POM."""
    stem = f"extism-kernel-{kernel.version}"
    templates = fill_templates("maven", {"VERSION": kernel.version})
    members = [*kernel.members(RESOURCES), *templates]
    # The manifest comes first: java.util.jar.JarInputStream looks nowhere else.
    members.sort(key=lambda member: (member.name != MANIFEST, member.name))
    pom = next(member for member in templates if member.name == POM)
    return [
        Member(name=f"{stem}.jar", data=make_zip(members, epoch=kernel.epoch)),
        Member(name=f"{stem}.pom", data=pom.data),
    ]
