"""The headings of CHANGELOG.md: `## [VERSION] - DATE`, newest first.

Above them may stand `## [Unreleased]`, which is empty when a release is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base.files import guard

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UNRELEASED", "has_unreleased", "newest_heading", "read_sections_of"]

HEADING = re.compile(r"^## +\[?(?P<name>[^\s\]]+).*$", re.MULTILINE)
UNRELEASED = "Unreleased"


def read_sections_of(path: Path) -> dict[str, str]:
    """Return the text under each second-level heading, by its first word; nothing if there is no file."""
    if not path.is_file():
        return {}
    with guard(path):
        text = path.read_text("utf-8")
    matches = list(HEADING.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    return {match["name"]: text[match.end() : end].strip() for match, end in zip(matches, ends, strict=True)}


def newest_heading(path: Path) -> str | None:
    """Return the first heading that is not `Unreleased`, or None."""
    return next((name for name in read_sections_of(path) if name != UNRELEASED), None)


def has_unreleased(path: Path) -> bool:
    """Say whether there are entries that no version has yet."""
    return bool(read_sections_of(path).get(UNRELEASED))
