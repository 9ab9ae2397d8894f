"""What the host needs installed, checked without importing it: that would take longer than all the rest."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OLDEST, NEWEST = 48, 50
"""The first and the last major version of wasmtime that the host is tested with, as in pyproject.toml."""

INSTALL: Final = "install it with `pip install 'extism-kernel[host]'`"

_FOLDER: Final = re.compile(r"wasmtime-(\d+)(\.[^-]*)?\.dist-info")


def check_dependencies() -> None:
    """Raise `ModuleNotFoundError` for what is missing, `ImportError` for a wasmtime that cannot be served."""
    for name in ("cffi", "idna", "urllib3", "wasmtime"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"the host needs `{name}`; {INSTALL}", name=name)
    version = find_version()
    if version is not None and not OLDEST <= int(version.partition(".")[0]) <= NEWEST:
        raise ImportError(
            f"the host needs wasmtime {OLDEST} to {NEWEST}, this is wasmtime {version}; {INSTALL}",
            name="wasmtime",
        )


def find_version() -> str | None:
    """Return the version of the wasmtime that would be imported; None if nothing beside it says so."""
    spec = find_spec("wasmtime")
    if spec is None or spec.origin is None:
        return None
    site = Path(spec.origin).parent.parent
    try:
        folders = [entry.name for entry in site.iterdir()]
    except OSError:  # in an archive, say
        return None
    found = (_FOLDER.fullmatch(folder) for folder in folders)
    return next((match[1] + (match[2] or "") for match in found if match), None)
