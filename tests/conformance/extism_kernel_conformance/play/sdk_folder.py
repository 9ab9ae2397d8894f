"""The files on disk that plug-ins of the sdk profile may, and may not, reach."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_folder(folder: Path) -> Path:
    """Make what SDK.md says of `{folder}` in an empty folder, and return its path without symbolic links.

    `allowed` is what a case gives to its plug-in; `secret.txt` lies beside it, and `allowed/link` leads
    there.
    """
    folder = folder.resolve()
    allowed = folder / "allowed"
    allowed.mkdir()
    (allowed / "hello.txt").write_bytes(b"hello")
    (folder / "secret.txt").write_bytes(b"secret")
    with contextlib.suppress(
        OSError
    ):  # not every user may make one on Windows; then there is nothing to follow
        (allowed / "link").symlink_to(folder / "secret.txt")
    return folder
