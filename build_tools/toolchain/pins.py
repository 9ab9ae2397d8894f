"""`toolchain.toml` as values: which toolchains releases are made with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ContractError
from build_tools.base.project import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One file of a distribution, pinned. `size` is in bytes; `only` limits what is unpacked."""

    name: str
    version: str
    size: int
    sha256: str
    only: str | None = None
    soname: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What to fetch on one release of a distribution; paths are inside the unpacked packages.

    `packages` make the kernel, `native` also its native tests, `optional` are shared libraries that a system
    may lack.
    """

    id: str
    codename: str
    arch: str
    libraries: str
    linker: str
    packages: tuple[Package, ...]
    native: tuple[Package, ...]
    optional: tuple[Package, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Where distributions carry a Rust that releases may be made with."""

    target: str
    distributions: tuple[Distribution, ...]

    def find(self, distribution: str, codename: str, arch: str) -> Distribution | None:
        """Return the pins for one system, or `None` if there are none."""
        for entry in self.distributions:
            if (entry.id, entry.codename, entry.arch) == (distribution, codename, arch):
                return entry
        return None


def read_pins(path: Path) -> Pins:
    """Return the pins. Raises `ContractError` naming what is missing or malformed."""
    table = read_toml(path)
    try:
        rust = table["rust"]
        pins = Pins(
            target=rust["target"],
            distributions=tuple(_distribution(entry) for entry in table["distribution"]),
        )
    except (KeyError, TypeError) as error:
        raise ContractError(
            [f"missing or malformed: {error}"], where=path, hint="restore the entry"
        ) from None
    problems = [
        f"`{package.name}`: sha256 is `{package.sha256}`, should be 64 hex digits"
        for entry in pins.distributions
        for package in (*entry.packages, *entry.native, *entry.optional)
        if not DIGEST.fullmatch(package.sha256)
    ]
    if problems:
        raise ContractError(problems, where=path, hint="take the digest from `apt-cache show PACKAGE`")
    return pins


def _distribution(entry: Mapping[str, Any]) -> Distribution:
    return Distribution(
        id=entry["id"],
        codename=entry["codename"],
        arch=entry["arch"],
        libraries=entry["libraries"],
        linker=entry["linker"],
        packages=tuple(Package(**package) for package in entry["package"]),
        native=tuple(Package(**package) for package in entry["native"]),
        optional=tuple(Package(**package) for package in entry["library"]),
    )
