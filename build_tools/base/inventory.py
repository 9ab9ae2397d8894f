"""Which files a folder of the cache was made with, so that one that was cut or lost since is noticed.

Sizes, not digests: an unpacked toolchain has thousands of files, and this is looked at in every run.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from build_tools.base.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

INVENTORY = "inventory.json"


def write_inventory(folder: Path, *, omit: frozenset[str] = frozenset()) -> None:
    """Write down the sizes of all files in a folder, in the folder; `omit` names files at its top."""
    sizes = {name: size for name, size in _read_sizes(folder).items() if name not in omit}
    write_whole(folder / INVENTORY, json.dumps(sizes).encode())


def find_damaged(folder: Path) -> str | None:
    """Return a file that is missing, cut or longer than it was, or `None`; `None` too without inventory."""
    path = folder / INVENTORY
    try:
        wanted = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None  # made before there were any
    except (OSError, ValueError):
        return INVENTORY
    if not isinstance(wanted, dict) or not wanted:
        return INVENTORY
    found = _read_sizes(folder)
    return next((name for name, size in wanted.items() if found.get(name) != size), None)


def _read_sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118 - thousands of files; paths as objects are slower
            sizes[os.path.relpath(path, folder)] = os.lstat(path).st_size
    sizes.pop(INVENTORY, None)
    return sizes
