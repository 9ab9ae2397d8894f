"""Where downloads and toolchains are kept between runs. Standard library only: the bootstrap needs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_NAME = "extism-kernel"


def find_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads and toolchains, which may not exist yet.

    `XDG_CACHE_HOME` wins; an empty or relative one is ignored, as its specification asks. A user without a
    home folder gets one per user id in the system's folder for temporary files.
    """
    named = environ.get("XDG_CACHE_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named) / CACHE_NAME
    home = environ.get("HOME") or _home_of_user()
    if home and (Path(home).is_dir() or os.access(Path(home).parent, os.W_OK)):
        return Path(home) / ".cache" / CACHE_NAME
    return Path(tempfile.gettempdir()) / f"{CACHE_NAME}-{os.getuid()}"


def _home_of_user() -> str:
    try:
        return str(Path.home())
    except RuntimeError:  # neither HOME nor an entry in the user database
        return ""
