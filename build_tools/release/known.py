"""The list of released kernels in the package, which only grows; `extism_kernel_pkg.vendored` reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ContractError
from build_tools.base.files import read_bounded, write_whole
from extism_kernel_pkg.vendored.known import KNOWN_FILENAME, KNOWN_SCHEMA, order, parse_releases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from build_tools.base.project import Project

__all__ = ["released_versions", "remember"]

RESTORE = "restore the file with git"


def released_versions(project: Project) -> set[str]:
    """Return the versions of all releases on record. Raises ContractError if the list is malformed."""
    return {release["version"] for release in _read_releases(project.package / KNOWN_FILENAME)}


def remember(project: Project, info: Mapping[str, Any]) -> Path:
    """Add a released kernel's digests to the list in the package, and return the list's path.

    Raises ContractError if the list has other digests for that version: a version is released once.
    """
    path = project.package / KNOWN_FILENAME
    modules = {flavour: module["sha256"] for flavour, module in info["flavours"].items()}
    new = {
        "version": info["version"],
        "toolchain": info.get("toolchain", {}).get("rustc", ""),
        "modules": modules,
    }
    releases = {release["version"]: release for release in _read_releases(path)}
    known = releases.setdefault(info["version"], new)
    if known["modules"] != modules:
        problem = f"{info['version']} is on record with other digests: {known['modules']}"
        raise ContractError([problem], where=path, hint="raise `version` in kernel-src/Cargo.toml")
    content = {
        "schema": KNOWN_SCHEMA,
        "releases": [releases[version] for version in sorted(releases, key=order)],
    }
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _read_releases(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        content = json.loads(read_bounded(path))
        parse_releases(content)
        releases: list[dict[str, Any]] = content["releases"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ContractError([f"not a list of releases: {error!r}"], where=path, hint=RESTORE) from None
    return releases
