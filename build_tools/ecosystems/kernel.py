"""The staged kernel as every ecosystem takes it, and the templates that surround it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_tools.base.archive import Member
from build_tools.base.errors import KernelMismatchError, NotStagedError, VersionError
from build_tools.base.files import guard, read_bounded, sha256_of
from build_tools.ecosystems.identity import read_identity
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from build_tools.kernel.version import read_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from build_tools.base.project import Project
    from build_tools.ecosystems.identity import Identity

__all__ = ["Kernel", "fill_templates", "read_kernel"]

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Both modules and their kernel info; the digests of the modules are those that the info names.

    `version` is in Cargo's spelling (SemVer). `epoch` is in seconds since 1970: the time in archives.
    `sources` are the files that the modules were made from, by their path in the checkout. `signatures` are
    detached ones, by the name of the file that they sign, for ecosystems that carry them.
    """

    version: str
    info: Mapping[str, Any]
    files: tuple[Member, ...]
    license: Member
    identity: Identity
    epoch: int
    sources: tuple[Member, ...] = ()
    signatures: Mapping[str, bytes] = field(default_factory=dict)

    def module(self, flavour: str) -> bytes:
        """Return a flavour's module."""
        name = self.info["flavours"][flavour]["file"]
        return next(member.data for member in self.files if member.name == name)

    def members(self, folder: str = "") -> list[Member]:
        """Return the modules, the kernel info and the licence, as members of a folder (`a/b/` or empty)."""
        return [
            Member(name=f"{folder}{member.name}", data=member.data) for member in (*self.files, self.license)
        ]


def read_kernel(project: Project, *, epoch: int, signatures: Mapping[str, bytes] | None = None) -> Kernel:
    """Return the staged kernel.

    Raises NotStagedError if there is none, KernelMismatchError if a module's digest is not the one that
    kernel_info.json names, VersionError if the version is not the one in Cargo.toml, ContractError if
    pyproject.toml does not say whose it is.
    """
    folder = project.package
    missing = [name for name in (*FILENAMES.values(), INFO_FILENAME) if not (folder / name).is_file()]
    if missing:
        raise NotStagedError(missing, where=str(folder))
    text = read_bounded(folder / INFO_FILENAME)
    info = json.loads(text)
    version = read_version(project.cargo_toml)
    if info["version"] != version:
        raise VersionError(
            f"the staged kernel is {info['version']}, the version is {version}",
            where=str(folder / INFO_FILENAME),
            hint="python -m build_tools kernel",
        )
    files = [Member(name=INFO_FILENAME, data=text)]
    for flavour, name in FILENAMES.items():
        data = read_bounded(folder / name)
        want = info["flavours"][flavour]["sha256"]
        if sha256_of(data) != want:
            raise KernelMismatchError(name, sha256_of(data), want, where=str(folder))
        files.append(Member(name=name, data=data))
    return Kernel(
        version=version,
        info=info,
        files=tuple(sorted(files, key=lambda member: member.name)),
        license=Member(name="LICENSE", data=read_bounded(project.root / "LICENSE")),
        identity=read_identity(project.root / "pyproject.toml"),
        epoch=epoch,
        sources=tuple(_read_sources(project)),
        signatures=signatures or {},
    )


def _read_sources(project: Project) -> Iterator[Member]:
    for path in [*project.kernel_inputs(), project.kernel_src / "CONTRACT.md"]:
        yield Member(name=path.relative_to(project.root).as_posix(), data=read_bounded(path))


def fill_templates(ecosystem: str, kernel: Kernel, **more: str) -> list[Member]:
    """Return an ecosystem's templates with each `@KEY@` replaced, sorted by name.

    The keys are VERSION, those of the project's identity, and what the ecosystem adds.
    """
    root = TEMPLATES / ecosystem
    values = {"VERSION": kernel.version, **kernel.identity.values(), **more}
    members = []
    for path in sorted(root.rglob("*.in")):
        with guard(path):
            text = path.read_text("utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        name = path.relative_to(root).as_posix().removesuffix(".in")
        members.append(Member(name=name, data=text.encode()))
    return sorted(members, key=lambda member: member.name)
