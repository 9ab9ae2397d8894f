"""The sdist, the wheel built from it, the suite's, and their records: SHA256SUMS and the provenance."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_tools.base.archive import parse_tar_gz, parse_zip, read_epoch
from build_tools.base.errors import BuildFailedError, InvalidArchiveError
from build_tools.base.files import make_folder, read_bounded, read_digest, sha256_of, write_whole
from build_tools.base.findings import Artifact
from build_tools.base.process import run
from build_tools.base.project import Project
from build_tools.ecosystems.identity import read_identity
from build_tools.env.environment import has_pins
from build_tools.kernel.version import read_version, to_pep440
from build_tools.release.provenance import (
    PROVENANCE_FILENAME,
    SUMS_FILENAME,
    find_source,
    make_provenance,
    make_sums,
)
from build_tools.release.sources import copy_sources
from build_tools.release.suite import build_suite, find_suite
from build_tools.release.wheelfile import PACKAGE, find_member
from extism_kernel_pkg._info import parse_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from build_tools.base.archive import Member

__all__ = [
    "Distributions",
    "build_all",
    "build_distributions",
    "read_any_release",
    "read_artifact",
    "read_distributions",
]

log = logging.getLogger(__name__)

BUILD_LOCK = "build-system"
ARCHIVE_LIMIT = 64 * 1024 * 1024
"""Bytes of a wheel or sdist: ours are far below one MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """A release's archives, read and parsed, not yet checked.

    `suite` are the wheel and the sdist of the conformance suite, a distribution of its own, if there are any.
    """

    wheel: Artifact
    sdist: Artifact
    wheel_members: tuple[Member, ...]
    info: Mapping[str, Any]
    suite: tuple[Artifact, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, Artifact]:
        """Both files of the kernel's distribution, in the order in which they are uploaded.

        The wheel comes first: an index that holds a part of a release then offers what needs no compiler.
        """
        return self.wheel, self.sdist


def build_distributions(project: Project, out: Path, *, prebuilt: Path | None = None) -> Distributions:
    """Build the sdist and, from it, the wheel, then those of the conformance suite, and write their records.

    They are built from a copy of what git knows, with the locked build requirements: those of this Python if
    it has them all, and then nothing is downloaded. With `prebuilt` nothing is compiled. Raises
    ToolFailedError with the end of the frontend's output if the build fails; `out` is then as it was.
    """
    epoch = read_epoch()
    version = read_version(project.cargo_toml)
    source = find_source(project.root)
    given = None if prebuilt is None else read_digest(prebuilt)
    with tempfile.TemporaryDirectory(prefix="extism-kernel-dist-") as folder:
        built, copy = Path(folder) / "dist", Project(Path(folder) / "extism-kernel")
        copy_sources(project.root, copy.root)
        build_all(copy, built, python=Path(sys.executable), prebuilt=prebuilt)
        distributions = read_distributions(built, version)
        artifacts = (*distributions.artifacts, *distributions.suite)
        provenance = make_provenance(
            artifacts,
            info=distributions.info,
            source=source,
            repository=read_identity(project.root / "pyproject.toml").repository,
            lock=build_lock(project).read_text("utf-8"),
            prebuilt=given,
            epoch=epoch,
        )
        make_folder(out)
        for artifact in artifacts:
            write_whole(out / artifact.name, artifact.path.read_bytes())
    write_whole(out / PROVENANCE_FILENAME, provenance)
    recorded = read_artifact(out / PROVENANCE_FILENAME)
    write_whole(out / SUMS_FILENAME, make_sums([*artifacts, recorded]))
    return read_distributions(out, version)


def build_all(
    project: Project,
    out: Path,
    *,
    python: Path,
    prebuilt: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Build the kernel's sdist and, from it, the wheel, then the suite's, with a Python that has `build`."""
    how = "with a prebuilt kernel" if prebuilt else "compiling the kernel"
    log.info("building the sdist and, from it, the wheel (%s)", how)
    settings = [] if prebuilt is None else ["--config-setting", f"kernel.prebuilt={prebuilt.resolve()}"]
    build_archives(project, project.root, out, python=python, settings=settings, env=env)
    log.info("building the sdist and the wheel of the conformance suite")
    build_suite(
        project,
        out,
        version=read_version(project.cargo_toml),
        epoch=read_epoch(),
        build=lambda folder, built: build_archives(project, folder, built, python=python, env=env),
    )


def build_archives(  # noqa: PLR0913 - a project inside a project, where to, and how
    project: Project,
    folder: Path,
    out: Path,
    *,
    python: Path,
    settings: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Run `python -m build` on a folder: the sdist, then the wheel from the sdist.

    The environment of the build is this Python's own where it has all that the lock pins, and an isolated one
    made from the lock otherwise.
    """
    lock: list[str | Path] = ["--dependency-constraints-txt", build_lock(project)]
    is_own = python == Path(sys.executable) and has_pins(BUILD_LOCK)
    run(
        [
            python,
            "-m",
            "build",
            "--outdir",
            out,
            *(["--no-isolation"] if is_own else lock),
            *settings,
            folder,
        ],
        cwd=folder,
        env=env,
        hint="run `python -m build_tools doctor` to see what the build lacks",
    )


def build_lock(project: Project) -> Path:
    """Return the lock file of what the build environment is made from (`build-system.requires`)."""
    return project.tools / "requirements" / f"{BUILD_LOCK}.txt"


def read_distributions(folder: Path, version: str) -> Distributions:
    """Return the wheel and the sdist of a version (in Cargo's spelling) that lie in a folder.

    Raises BuildFailedError if one is not there, InvalidArchiveError if one does not hold together.
    """
    stem = f"extism_kernel-{to_pep440(version)}"
    wheel = folder / f"{stem}-py3-none-any.whl"
    sdist = folder / f"{stem}.tar.gz"
    for path in (wheel, sdist):
        if not path.is_file():
            raise BuildFailedError(
                f"`{path.name}` is not there",
                where=str(folder),
                hint="python -m build_tools wheel",
            )
    parse_tar_gz(read_bounded(sdist, limit=ARCHIVE_LIMIT), str(sdist))
    members = parse_zip(read_bounded(wheel, limit=ARCHIVE_LIMIT), str(wheel))
    return Distributions(
        wheel=read_artifact(wheel),
        sdist=read_artifact(sdist),
        wheel_members=tuple(members),
        info=read_info(members, str(wheel)),
        suite=tuple(map(read_artifact, find_suite(folder))),
    )


def read_any_release(folder: Path) -> Distributions:
    """Return the one release in a folder, of whatever version.

    Raises BuildFailedError if there is not exactly one wheel, and as `read_distributions` does.
    """
    wheels = sorted(folder.glob("extism_kernel-*-py3-none-any.whl"))
    if len(wheels) != 1:
        raise BuildFailedError(f"there are {len(wheels)} wheels, there should be one", where=str(folder))
    members = parse_zip(read_bounded(wheels[0], limit=ARCHIVE_LIMIT), str(wheels[0]))
    return read_distributions(folder, str(read_info(members, str(wheels[0]))["version"]))


def read_info(members: Sequence[Member], where: str) -> dict[str, Any]:
    """Return the kernel info in a wheel. Raises InvalidArchiveError if it is missing or not what we write."""
    member = find_member(members, f"{PACKAGE}/kernel_info.json")
    if member is None:
        raise InvalidArchiveError("wheel", where, f"`{PACKAGE}/kernel_info.json` is missing")
    try:
        info: dict[str, Any] = json.loads(member.data)
        parse_info(info)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"`{member.name}` is malformed ({type(error).__name__}: {error})"
        raise InvalidArchiveError("wheel", where, problem) from None
    return info


def read_artifact(path: Path, *, name: str | None = None) -> Artifact:
    """Return a file's size and digest under its name, or under another (its path inside a folder)."""
    data = read_bounded(path, limit=ARCHIVE_LIMIT)
    return Artifact(name=name or path.name, path=path, size=len(data), sha256=sha256_of(data))
