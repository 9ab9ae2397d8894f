"""The npm package `extism-kernel`: a tarball that `npm publish` and `npm install` take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_tar_gz
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

ROOT = "package/"
"""The folder that npm expects everything in."""


def make_files(kernel: Kernel) -> list[Member]:
    """Return `extism-kernel-VERSION.tgz`."""
    templates = fill_templates("npm", {"VERSION": kernel.version})
    rooted = [Member(name=f"{ROOT}{each.name}", data=each.data) for each in templates]
    members = sorted([*kernel.members(ROOT), *rooted], key=lambda member: member.name)
    tarball = make_tar_gz(members, epoch=kernel.epoch)
    return [Member(name=f"extism-kernel-{kernel.version}.tgz", data=tarball)]
