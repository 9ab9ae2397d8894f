"""The headings of CHANGELOG.md: `## VERSION`, with anything after a blank, newest first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.files import guard

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["newest_heading", "read_headings"]

HEADING = re.compile(r"^## +\[?(?P<name>[^\s\]]+)", re.MULTILINE)


def read_headings(path: Path) -> list[str]:
    """Return the first word of every second-level heading: versions, or words like `Unreleased`."""
    if not path.is_file():
        return []
    with guard(path):
        return HEADING.findall(path.read_text("utf-8"))


def newest_heading(path: Path) -> str | None:
    """Return the first heading, or None if there is no changelog or no heading in it."""
    return next(iter(read_headings(path)), None)
