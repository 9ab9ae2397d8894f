"""pip for a Python that comes without it: Debian and Ubuntu keep `ensurepip` in a package of its own.

Standard library only, like the bootstrap that it serves.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import sys
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import DownloadError, PythonEnvironmentError
from build_tools.base.process import run
from build_tools.base.progress import Progress
from build_tools.env import apt

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# The distribution's own wheel of pip; with `python3-venv` it would be unpacked from the same file.
PACKAGE = "python3-pip-whl"
WHEELS = "usr/share/python-wheels"
SYSTEM = Path("/")


def has_ensurepip() -> bool:
    """Say whether this Python can put pip into a new environment by itself."""
    return importlib.util.find_spec("ensurepip") is not None


def can_fetch() -> bool:
    """Say whether pip can be had from a distribution's packages."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def fix_command() -> str:
    """Return the command that gives this Python what it lacks, for somebody with root rights."""
    return f"sudo apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv"


def add_pip(python: Path, cache: Path, *, watch: Callable[[], None] | None = None) -> None:
    """Put pip into an environment that was made without it. Raises `PythonEnvironmentError`."""
    if has_ensurepip():
        run([python, "-Im", "ensurepip", "--upgrade", "--default-pip"], cwd=python.parent, watch=watch)
        return
    wheel = find_wheel(cache)
    # A wheel can be run as it is: Python takes the folder inside the archive for the program.
    argv: list[str | Path] = [python, wheel / "pip", "install", "-q", "--no-index", "--no-deps", wheel]
    run(argv, cwd=wheel.parent, env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"}, watch=watch)


def find_wheel(cache: Path) -> Path:
    """Return a wheel of pip: the system's, one fetched before, or one fetched now as a file."""
    folder = cache / "pip"
    for root in (SYSTEM, folder):
        for wheel in sorted((root / WHEELS).glob("pip-*.whl"), reverse=True):
            if is_whole(wheel):
                return wheel
            log.warning("warning[pip-damaged]: %s is no whole wheel; looking for another", wheel)
    if not can_fetch():
        raise PythonEnvironmentError(
            "this Python comes without pip (it lacks `ensurepip`), and there is no apt to fetch it with",
            where=sys.executable,
            hint="install your system's package of pip for it, or use another Python",
        )
    try:
        with apt.lock(cache):
            return _fetch(cache, folder)
    except (DownloadError, PythonEnvironmentError) as error:
        raise PythonEnvironmentError(
            f"this Python comes without pip (it lacks `ensurepip`), and {error.message}",
            where=sys.executable,
            hint=f"check the network and run the same command again, or `{fix_command()}`",
        ) from None


def is_whole(wheel: Path) -> bool:
    """Say whether a wheel can be read to its end."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error):
        return False


def _fetch(cache: Path, folder: Path) -> Path:
    source = apt.Apt(cache)
    source.update()
    offer = source.find(PACKAGE)
    if offer is None:
        source.check_lists()
        raise PythonEnvironmentError(f"`{PACKAGE}` is not in the package lists of this system's sources")
    archive = cache / "apt" / f"{PACKAGE}.deb"
    with Progress("fetching pip", offer.size) as progress:
        source.download(offer, archive, progress)
    with files.new_folder(folder) as part:
        run(["dpkg-deb", "-x", archive, part], cwd=part)
    archive.unlink()
    wheels = sorted((folder / WHEELS).glob("pip-*.whl"))
    if not wheels:
        raise PythonEnvironmentError(f"`{PACKAGE}` {offer.version} has no wheel of pip in /{WHEELS}")
    return wheels[-1]
