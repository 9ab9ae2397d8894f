"""Links of a README that work on an index, which shows the text and none of the files beside it."""

from __future__ import annotations

import posixpath
import re

__all__ = ["absolute_links", "link_base"]

FENCE = re.compile(r"^\s*(```|~~~)")
CODE = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(r"\]\((?![a-z][a-z0-9+.-]*:|#|/)([^)\s]+)\)")


def link_base(repository: str, version: str, folder: str = "") -> str:
    """Return where the files of a version (in Cargo's spelling) are shown; `folder` is the README's."""
    return posixpath.join(repository, "blob", f"v{version}", folder).rstrip("/")


def absolute_links(text: str, base: str) -> str:
    """Return Markdown with each relative link made one below `base`; code and links to headings stay."""
    in_code = False
    lines = []
    for line in text.split("\n"):
        if FENCE.match(line):
            in_code = not in_code
        lines.append(line if in_code else _replace(line, base))
    return "\n".join(lines)


def _replace(line: str, base: str) -> str:
    """Replace the links outside of inline code; a link whose text is code keeps its target outside."""
    parts = CODE.split(line)
    return "".join(
        part if at % 2 else LINK.sub(lambda match: f"]({_join(base, match[1])})", part)
        for at, part in enumerate(parts)
    )


def _join(base: str, target: str) -> str:
    root, _, path = base.partition("/blob/")
    return f"{root}/blob/{posixpath.normpath(posixpath.join(path, target))}"
