"""The digests of kernels on record: all releases, and the one that is staged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ContractError
from build_tools.base.files import read_bounded, write_whole
from build_tools.kernel.values import INFO_FILENAME
from build_tools.kernel.version import PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from build_tools.base.project import Project

__all__ = ["KnownKernel", "order", "read_known", "released_versions", "remember"]

KNOWN_FILENAME = "known_digests.json"
KNOWN_SCHEMA = 1
RESTORE = "restore the file with git"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKernel:
    """One module whose digest is on record."""

    version: str
    flavour: str
    sha256: str
    is_current: bool


def read_known(project: Project) -> list[KnownKernel]:
    """Return every kernel on record: the staged one, if there is one, and all releases.

    The newest version counts as current. Raises ContractError if the list is malformed.
    """
    released = _read_releases(project.package / KNOWN_FILENAME)
    triples = [*released, *_read_staged(project.package / INFO_FILENAME)]
    newest = max((order(version) for version, _, _ in triples), default=())
    return [
        KnownKernel(version=version, flavour=flavour, sha256=sha256, is_current=order(version) == newest)
        for version, flavour, sha256 in dict.fromkeys(triples)
    ]


def order(version: str) -> tuple[int | str, ...]:
    """Return a key that sorts versions as SemVer does; pre-releases come before their release."""
    match = PATTERN.fullmatch(version)
    if match is None:
        return ()
    major, minor, patch, kind, number = match.groups()
    return int(major), int(minor), int(patch), kind or "release", int(number or 0)


def released_versions(project: Project) -> set[str]:
    """Return the versions of all releases on record. Raises ContractError if the list is malformed."""
    return {version for version, _, _ in _read_releases(project.package / KNOWN_FILENAME)}


def remember(project: Project, info: Mapping[str, Any]) -> Path:
    """Add a released kernel's digests to the list in the package, and return the list's path.

    Raises ContractError if the list has other digests for that version: a version is released once.
    """
    path = project.package / KNOWN_FILENAME
    modules = {flavour: module["sha256"] for flavour, module in info["flavours"].items()}
    releases: dict[str, dict[str, str]] = {}
    for version, flavour, sha256 in _read_releases(path):
        releases.setdefault(version, {})[flavour] = sha256
    if releases.setdefault(info["version"], modules) != modules:
        problem = f"{info['version']} is on record with other digests: {releases[info['version']]}"
        raise ContractError([problem], where=path, hint="raise `version` in kernel-src/Cargo.toml")
    ordered = sorted(releases, key=order)
    content = {
        "schema": KNOWN_SCHEMA,
        "releases": [{"version": version, "modules": releases[version]} for version in ordered],
    }
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _read_staged(path: Path) -> list[tuple[str, str, str]]:
    if not path.is_file():
        return []
    info = json.loads(read_bounded(path))
    return [(info["version"], flavour, module["sha256"]) for flavour, module in info["flavours"].items()]


def _read_releases(path: Path) -> list[tuple[str, str, str]]:
    if not path.is_file():
        return []
    try:
        content = json.loads(read_bounded(path))
        if content["schema"] != KNOWN_SCHEMA:
            raise ContractError(
                [f"`schema` is {content['schema']!r}, should be {KNOWN_SCHEMA}"], where=path, hint=RESTORE
            )
        return [
            (release["version"], flavour, sha256)
            for release in content["releases"]
            for flavour, sha256 in release["modules"].items()
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ContractError([f"not a list of releases: {error!r}"], where=path, hint=RESTORE) from None
