"""The build backend: scikit-build-core, with archives that are the same bytes on every machine.

scikit-build-core's own `reproducible` leaves two differences: what CMake installs into `.dist-info` is
written in directory order, and deflate's output depends on the zlib that Python was linked with. The hooks
here run scikit-build-core's and then write its wheel or sdist anew (see `build_tools.base.archive`). Editable
wheels are for one machine and stay as they are.

A frontend (pip, build, uv) imports this module in an environment that holds `build-system.requires` only.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scikit_build_core import build as skbuild
from scikit_build_core.build import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from build_tools.base.archive import read_epoch
from build_tools.base.errors import BuildToolsError
from build_tools.base.files import write_whole
from build_tools.base.project import find_project
from build_tools.kernel.version import read_version
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


def build_wheel(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,  # noqa: ARG001 - PEP 517's signature, see below
) -> str:
    """Build the wheel into a folder and return its file name (PEP 517)."""
    with _clear_errors():
        epoch = _check_inputs()
        # The prepared metadata is left out: scikit-build-core wants the two to hold the same files, and the
        # SBOM, which names the digest of the kernel, exists only after the build.
        name = skbuild.build_wheel(wheel_directory, config_settings, None)
        _rewrite(Path(wheel_directory, name), lambda data: normalise_wheel(data, name, epoch=epoch))
        return name


def build_sdist(sdist_directory: str, config_settings: ConfigSettings | None = None) -> str:
    """Build the sdist into a folder and return its file name (PEP 517)."""
    with _clear_errors():
        epoch = _check_inputs()
        name = skbuild.build_sdist(sdist_directory, config_settings)
        _rewrite(Path(sdist_directory, name), lambda data: normalise_sdist(data, name, epoch=epoch))
        return name


def _check_inputs() -> int:
    """Return the time of archive members; refuse what scikit-build-core would refuse with a traceback."""
    read_version(find_project().cargo_toml)
    return read_epoch()


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
