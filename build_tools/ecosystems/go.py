"""The Go module: its folder, to be committed, and the files of a module proxy (GOPROXY) that serve it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

SUFFIX = "-go"
"""The module has a repository of its own, beside the project's: Go reads modules from tags, and the modules
are not committed here."""
FOLDER = "extism-kernel-go"
FIRST_SUFFIXED_MAJOR = 2


def make_files(kernel: Kernel) -> list[Member]:
    """Return the module's folder and a `proxy/` tree for `GOPROXY=file://...`."""
    major = int(kernel.version.split(".")[0])
    # Go's rule: from the second major version on, the module's path ends in it.
    module = f"{kernel.identity.values()['REPOSITORY_PATH']}{SUFFIX}"
    path = f"{module}/v{major}" if major >= FIRST_SUFFIXED_MAJOR else module
    version = f"v{kernel.version}"
    templates = fill_templates("go", kernel, MODULE=path)
    members = sorted([*kernel.members(), *templates], key=lambda member: member.name)
    zipped = make_zip(
        [Member(name=f"{path}@{version}/{member.name}", data=member.data) for member in members],
        epoch=kernel.epoch,
    )
    mod = next(member for member in members if member.name == "go.mod")
    moment = datetime.fromtimestamp(kernel.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    info = json.dumps({"Version": version, "Time": moment}) + "\n"
    proxy = f"proxy/{path}/@v"
    return [
        *(Member(name=f"{FOLDER}/{member.name}", data=member.data) for member in members),
        Member(name=f"{proxy}/list", data=f"{version}\n".encode()),
        Member(name=f"{proxy}/{version}.info", data=info.encode()),
        Member(name=f"{proxy}/{version}.mod", data=mod.data),
        Member(name=f"{proxy}/{version}.zip", data=zipped),
    ]
