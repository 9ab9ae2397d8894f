"""The headings of CHANGELOG.md: `## [VERSION] - DATE`, newest first.

Above them may stand `## [Unreleased]`, which is empty when a release is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base.files import guard

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "UNRELEASED",
    "date_unreleased",
    "has_unreleased",
    "newest_heading",
    "open_unreleased",
    "read_sections_of",
]

HEADING = re.compile(r"^## +\[?(?P<name>[^\s\]]+).*$", re.MULTILINE)
UNRELEASED = "Unreleased"
_HEADING_UNRELEASED = re.compile(rf"^## +\[?{UNRELEASED}\]?.*$", re.MULTILINE)


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


def date_unreleased(text: str, version: str, date: str) -> str:
    """Return the text with the heading `Unreleased` made that of `version`, of `date` (`YYYY-MM-DD`)."""
    return _HEADING_UNRELEASED.sub(f"## [{version}] - {date}", text, count=1)


def open_unreleased(text: str) -> str:
    """Return the text with an empty `Unreleased` above the newest version, unless there is one."""
    if _HEADING_UNRELEASED.search(text):
        return text
    first = HEADING.search(text)
    at = first.start() if first else len(text)
    return f"{text[:at]}## [{UNRELEASED}]\n\n{text[at:]}"
