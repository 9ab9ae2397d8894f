"""Links of Markdown that is shown elsewhere than in the repository: on a package index, or on the site."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["absolute_links", "link_base", "map_links"]

FENCE = re.compile(r"^\s*(```|~~~)")
CODE = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(r"\]\((?![a-z][a-z0-9+.-]*:|#|/)([^)\s]+)\)")


def link_base(repository: str, version: str, folder: str = "") -> str:
    """Return where the files of a version (in Cargo's spelling) are shown; `folder` is the README's."""
    return posixpath.join(repository, "blob", f"v{version}", folder).rstrip("/")


def absolute_links(text: str, base: str) -> str:
    """Return Markdown with each relative link made one below `base`; code and links to headings stay."""
    return map_links(text, lambda target: _join(base, target))


def map_links(text: str, change: Callable[[str], str]) -> str:
    """Return Markdown with the target of each relative link changed; code and links to headings stay."""
    in_code = False
    lines = []
    for line in text.split("\n"):
        if FENCE.match(line):
            in_code = not in_code
        lines.append(line if in_code else _replace(line, change))
    return "\n".join(lines)


def _replace(line: str, change: Callable[[str], str]) -> str:
    """Replace the links outside of inline code; a link whose text is code keeps its target outside."""
    parts = CODE.split(line)
    return "".join(
        part if at % 2 else LINK.sub(lambda match: f"]({change(match[1])})", part)
        for at, part in enumerate(parts)
    )


def _join(base: str, target: str) -> str:
    root, _, path = base.partition("/blob/")
    return f"{root}/blob/{posixpath.normpath(posixpath.join(path, target))}"
