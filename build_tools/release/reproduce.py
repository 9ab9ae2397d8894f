"""Two builds of the same sources under different conditions, compared byte for byte.

The second build has another folder, file system (where the system offers one in memory), umask, file times,
time zone, locale, home folder and, if another is installed, another Python. Neither sees what the other or
an earlier build left: both start from a copy of the sources alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.files import make_folder, read_digest
from build_tools.base.process import run
from build_tools.base.project import Project
from build_tools.env.pythons import find_other_python
from build_tools.kernel.version import read_version
from build_tools.release.difference import Comparison, compare_artifacts
from build_tools.release.distributions import Distributions, build_all, read_distributions
from build_tools.release.sources import copy_sources
from build_tools.release.wheelfile import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Conditions", "Reproduction", "rebuilt_sums", "reproduce"]

log = logging.getLogger(__name__)

MEMORY_FILE_SYSTEM = Path("/dev/shm")  # noqa: S108 - asked for because it is another file system, used via mkdtemp
OTHER_TIME = 981173106
"""Seconds since 1970: 2001-02-03, far from now and before any commit of this project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What surrounds one build; `describe` gives it as one line."""

    folder: Path
    python: Path
    python_version: str
    umask: int
    file_time: int | None
    env: dict[str, str]

    def describe(self) -> str:
        """Return the conditions as one line for a person."""
        zone = self.env.get("TZ", "the machine's")
        return f"Python {self.python_version}, umask {self.umask:03o}, time zone {zone}, in {self.folder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Two builds: their conditions in words, and each artifact compared."""

    conditions: tuple[str, str]
    comparisons: tuple[Comparison, ...]

    @property
    def is_equal(self) -> bool:
        """Whether every artifact came out the same."""
        return all(comparison.difference is None for comparison in self.comparisons)


def reproduce(project: Project, *, prebuilt: Path | None = None, against: Path | None = None) -> Reproduction:
    """Build twice and compare the modules, the wheels and the sdists.

    With `prebuilt` the kernel is not compiled, so that only packaging is compared. With `against`, a folder
    with a release of this version, that release stands for the first build.
    """
    if prebuilt is not None:
        read_digest(prebuilt)  # a file that is not there is said now, not after minutes
    with contextlib.ExitStack() as stack:
        first_folder, second_folder = (
            stack.enter_context(_new_folder(parent)) for parent in (None, _other_file_system())
        )
        second = _different(second_folder)
        if against is None:
            first = _plain(first_folder)
            release = _build(project, first, prebuilt)
            conditions = first.describe(), second.describe()
        else:
            release = read_distributions(against, read_version(project.cargo_toml))
            conditions = f"the release in {against}", second.describe()
        rebuilt = _build(project, second, prebuilt)
        return Reproduction(conditions=conditions, comparisons=tuple(_compare(release, rebuilt)))


def rebuilt_sums(result: Reproduction) -> bytes:
    """Return the SHA256SUMS of what the second build made."""
    lines = sorted(f"{each.second}  {each.name}\n" for each in result.comparisons)
    return "".join(lines).encode()


def _other_file_system() -> Path | None:
    usable = MEMORY_FILE_SYSTEM.is_dir() and os.access(MEMORY_FILE_SYSTEM, os.W_OK)
    return MEMORY_FILE_SYSTEM if usable else None


@contextlib.contextmanager
def _new_folder(parent: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="extism-kernel-", dir=parent) as name:
        yield Path(name)


def _plain(folder: Path) -> Conditions:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Conditions(
        folder=folder,
        python=Path(sys.executable),
        python_version=version,
        umask=0o022,
        file_time=None,
        env={"TMPDIR": str(make_folder(folder / "tmp"))},
    )


def _different(folder: Path) -> Conditions:
    inner = make_folder(folder / "a folder" / "with a long way")
    other = find_other_python()
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    env = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "TMPDIR": str(make_folder(folder / "tmp"))}
    return Conditions(
        folder=inner,
        python=Path(sys.executable) if other is None else other.path,
        python_version=f"{ours} (no other was found)" if other is None else other.version,
        umask=0o077,
        file_time=OTHER_TIME,
        env=env,
    )


def _build(project: Project, conditions: Conditions, prebuilt: Path | None) -> Distributions:
    log.info("build with %s", conditions.describe())
    copy = Project(conditions.folder / "extism-kernel")
    out = conditions.folder / "dist"
    with _umask(conditions.umask):
        copy_sources(project.root, copy.root)
        if conditions.file_time is not None:
            _touch(copy.root, conditions.file_time)
        python = _with_frontend(conditions, copy)
        build_all(copy, out, python=python, prebuilt=prebuilt, env=conditions.env)
    return read_distributions(out, read_version(copy.cargo_toml))


def _with_frontend(conditions: Conditions, project: Project) -> Path:
    """Return a Python that has the build frontend: ours, or a new environment of the other one."""
    if conditions.python == Path(sys.executable):
        return conditions.python
    home = conditions.folder / "frontend"
    run([conditions.python, "-m", "venv", home], cwd=conditions.folder)
    python = home / "bin" / "python"
    lock = project.tools / "requirements" / "frontend.txt"
    run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], cwd=conditions.folder)
    return python


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _touch(root: Path, moment: int) -> None:
    for path in sorted(root.rglob("*")):
        os.utime(path, (moment, moment), follow_symlinks=False)


def _compare(first: Distributions, second: Distributions) -> Iterator[Comparison]:
    others = {member.name: member.data for member in second.wheel_members}
    for member in first.wheel_members:
        if member.name.startswith(f"{PACKAGE}/") and member.name.endswith(".wasm"):
            yield compare_artifacts(member.name, member.data, others.get(member.name, b""))
    ones, twos = ((*each.artifacts, *each.suite) for each in (first, second))
    again = {artifact.name: artifact.path.read_bytes() for artifact in twos}
    for one in ones:
        yield compare_artifacts(one.name, one.path.read_bytes(), again.get(one.name, b""))
