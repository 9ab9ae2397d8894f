"""The conformance suite's own distribution: an ordinary one, normalised as the kernel's is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import BuildFailedError
from build_tools.base.files import read_bounded, write_whole
from build_tools.ecosystems.identity import read_identity
from build_tools.release.readme import link_base
from build_tools.release.wheelfile import normalise_sdist, normalise_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.base.project import Project

__all__ = ["build_suite", "find_suite", "suite_version"]

FOLDER = "tests/conformance"
STEM = "extism_kernel_conformance"


def build_suite(
    project: Project, out: Path, *, version: str, epoch: int, build: Callable[[Path, Path], None]
) -> None:
    """Build the suite's sdist and wheel into `out`; links lead to the tag of `version`, the kernel's.

    `build` runs the frontend on a folder and leaves what it made in another.
    """
    folder = project.root / FOLDER
    links = link_base(read_identity(project.root / "pyproject.toml").repository, version, FOLDER)
    with tempfile.TemporaryDirectory(prefix="extism-kernel-suite-") as name:
        built = Path(name)
        build(folder, built)
        want = {path.name for path in suite_files(built, suite_version(project))}
        if {path.name for path in built.iterdir()} != want:
            raise BuildFailedError(
                f"the suite should be built as {', '.join(sorted(want))}",
                where=str(folder),
                hint="suite.json",
            )
        for path in sorted(built.iterdir()):
            normalise = normalise_wheel if path.suffix == ".whl" else normalise_sdist
            write_whole(out / path.name, normalise(read_bounded(path), path.name, epoch=epoch, links=links))


def suite_version(project: Project) -> str:
    """Return the suite's version, which is its own."""
    text = read_bounded(project.root / FOLDER / "suite.json")
    return str(json.loads(text)["version"])


def suite_files(folder: Path, version: str) -> tuple[Path, Path]:
    """Return where the suite's wheel and sdist of a version are, or would be."""
    return folder / f"{STEM}-{version}-py3-none-any.whl", folder / f"{STEM}-{version}.tar.gz"


def find_suite(folder: Path) -> list[Path]:
    """Return the suite's wheels and then its sdists in a folder."""
    return [*sorted(folder.glob(f"{STEM}-*.whl")), *sorted(folder.glob(f"{STEM}-*.tar.gz"))]
