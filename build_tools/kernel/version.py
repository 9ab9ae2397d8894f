"""The kernel's version: where it stands, and which forms every ecosystem orders alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base.errors import VersionError
from build_tools.base.project import read_toml

if TYPE_CHECKING:
    from pathlib import Path

PATTERN = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(alpha|beta|rc)\.(0|[1-9]\d*))?", re.ASCII)
_PEP440 = {"alpha": "a", "beta": "b", "rc": "rc"}


def check_version(version: str, *, where: str) -> str:
    """Return `version` if SemVer, PEP 440 and Maven order it alike. Raises `VersionError` otherwise."""
    if PATTERN.fullmatch(version) is None:
        raise VersionError(
            f"`{version}` is not of the form `N.N.N` or `N.N.N-(alpha|beta|rc).N`",
            where=where,
            hint="other forms are ordered differently by SemVer, PEP 440 and Maven; choose one of these",
        )
    return version


def to_pep440(version: str) -> str:
    """Return the form that Python's tools normalise `version` to (`1.0.0-rc.1` is `1.0.0rc1`)."""
    match = PATTERN.fullmatch(check_version(version, where="version"))
    if match is None:
        raise AssertionError(version)
    major, minor, patch, kind, number = match.groups()
    return f"{major}.{minor}.{patch}" + (f"{_PEP440[kind]}{number}" if kind else "")


def read_version(cargo_toml: Path) -> str:
    """Return the version in a `Cargo.toml`. Raises `VersionError` if it is missing or of a refused form."""
    package = read_toml(cargo_toml).get("package")
    version = package.get("version") if isinstance(package, dict) else None
    if not isinstance(version, str):
        raise VersionError(
            "`package.version` is missing or not a string",
            where=str(cargo_toml),
            hint='write `version = "N.N.N"` under `[package]`',
        )
    return check_version(version, where=str(cargo_toml))
