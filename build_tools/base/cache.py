"""Where downloads and toolchains are kept between runs. Standard library only: the bootstrap needs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_NAME = "extism-kernel"

# The home of users that have none (Debian Policy, 9.2.3). Root could make it, and must not.
NO_HOME = "/nonexistent"


def find_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads and toolchains, which may not exist yet.

    `XDG_CACHE_HOME` wins; an empty or relative one is ignored, as its specification asks. A user without a
    home folder that can be written gets one per user id in the system's folder for temporary files. Raises
    `ReadOnlyError` if somebody else made that one: what it holds would be run.
    """
    named = environ.get("XDG_CACHE_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named) / CACHE_NAME
    home = environ.get("HOME") or _home_of_user()
    if home and _can_be_written(Path(home)):
        return Path(home) / ".cache" / CACHE_NAME
    return _check_owner(Path(tempfile.gettempdir()) / f"{CACHE_NAME}-{os.getuid()}")


def _home_of_user() -> str:
    try:
        return str(Path.home())
    except RuntimeError:  # neither HOME nor an entry in the user database
        return ""


def _can_be_written(home: Path) -> bool:
    """Say whether the cache in a home folder can be written or made; the home itself may be missing."""
    if home.is_relative_to(NO_HOME) or not os.path.isdir(home.parent):  # noqa: PTH112 - it never raises
        return False
    folder = home / ".cache" / CACHE_NAME
    there = next(at for at in (folder, *folder.parents) if os.path.exists(at))  # noqa: PTH110 - likewise
    return os.access(there, os.W_OK | os.X_OK)


def _check_owner(folder: Path) -> Path:
    try:
        owner = folder.lstat().st_uid
    except FileNotFoundError:
        return folder
    if owner != os.getuid():
        raise ReadOnlyError(
            f"belongs to user {owner}, so nothing in it can be trusted",
            where=str(folder),
            hint="set XDG_CACHE_HOME to a folder of your own",
        )
    return folder
