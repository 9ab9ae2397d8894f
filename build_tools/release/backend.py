"""The build backend: scikit-build-core, with archives that are the same bytes on every machine.

scikit-build-core's own `reproducible` leaves three differences: what CMake installs into `.dist-info` is
written in directory order, deflate's output depends on the zlib that Python was linked with, and WHEEL names
the version of scikit-build-core, which `build-system.requires` leaves open. The hooks
here run scikit-build-core's and then write its wheel or sdist anew (see `build_tools.base.archive`). Editable
wheels are for one machine and stay as they are.

A frontend (pip, build, uv) imports this module in an environment that holds `build-system.requires` only, and
then asks what else is needed: the libraries that read WebAssembly, unless the kernel is a finished one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scikit_build_core import build as skbuild
from scikit_build_core.build import (
    build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from build_tools.base.archive import read_epoch
from build_tools.base.errors import BuildToolsError
from build_tools.base.files import write_whole
from build_tools.base.project import find_project
from build_tools.ecosystems.identity import read_identity
from build_tools.kernel.finished import is_finished
from build_tools.kernel.version import read_version
from build_tools.release.readme import link_base
from build_tools.release.wheelfile import normalise_sdist, normalise_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ConfigSettings = dict[str, list[str] | str]

PREBUILT_VARIABLE = "EXTISM_KERNEL_PREBUILT"
PREBUILT_SETTING = "kernel.prebuilt"


def get_requires_for_build_wheel(config_settings: ConfigSettings | None = None) -> list[str]:
    """Return what a wheel needs on top of `build-system.requires` (PEP 517)."""
    return [*skbuild.get_requires_for_build_wheel(config_settings), *_kernel_requirements(config_settings)]


def get_requires_for_build_editable(config_settings: ConfigSettings | None = None) -> list[str]:
    """Return what an editable wheel needs on top of `build-system.requires` (PEP 660)."""
    return [*skbuild.get_requires_for_build_editable(config_settings), *_kernel_requirements(config_settings)]


def _kernel_requirements(config_settings: ConfigSettings | None) -> list[str]:
    """Return what making a kernel needs, as `requirements/build.in` lists it; nothing for a finished one."""
    project = find_project()
    setting = (config_settings or {}).get(PREBUILT_SETTING) or os.environ.get(PREBUILT_VARIABLE, "")
    prebuilt = setting if isinstance(setting, str) else setting[-1]
    if prebuilt and is_finished(project, Path(prebuilt)):
        return []
    lines = (project.tools / "requirements" / "build.in").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def build_wheel(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,  # noqa: ARG001 - PEP 517's signature, see below
) -> str:
    """Build the wheel into a folder and return its file name (PEP 517)."""
    with _clear_errors():
        epoch, links = _check_inputs()
        # The prepared metadata is left out: scikit-build-core wants the two to hold the same files, and the
        # SBOM, which names the digest of the kernel, exists only after the build.
        name = skbuild.build_wheel(wheel_directory, config_settings, None)
        _rewrite(
            Path(wheel_directory, name), lambda data: normalise_wheel(data, name, epoch=epoch, links=links)
        )
        return name


def build_sdist(sdist_directory: str, config_settings: ConfigSettings | None = None) -> str:
    """Build the sdist into a folder and return its file name (PEP 517)."""
    with _clear_errors():
        epoch, links = _check_inputs()
        name = skbuild.build_sdist(sdist_directory, config_settings)
        _rewrite(
            Path(sdist_directory, name), lambda data: normalise_sdist(data, name, epoch=epoch, links=links)
        )
        return name


def _check_inputs() -> tuple[int, str]:
    """Return the time of archive members and where links lead.

    Refuses what scikit-build-core would refuse with a traceback.
    """
    project = find_project()
    version = read_version(project.cargo_toml)
    identity = read_identity(project.root / "pyproject.toml")
    return read_epoch(), link_base(identity.repository, version)


def _rewrite(path: Path, normalise: Callable[[bytes], bytes]) -> None:
    write_whole(path, normalise(path.read_bytes()))


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """Print our errors as text: a frontend shows what the backend printed, and a traceback helps nobody."""
    try:
        yield
    except BuildToolsError as error:
        print(error.render(), file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from None
