"""Paragraphs of documents that hold until the first release; the commit of that release leaves them out.

Such a paragraph stands between two comments, each on a line of its own:
`<!-- until the first release -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from build_tools.base.files import read_bounded, write_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["drop_pending", "remove_pending"]

PENDING = re.compile(r"^<!-- until the first release -->\n.*?^<!-- end -->\n\n?", re.DOTALL | re.MULTILINE)


def remove_pending(root: Path) -> None:
    """Leave the paragraphs out of every Markdown file below `root`."""
    for path in sorted(root.rglob("*.md")):
        text = read_bounded(path).decode()
        kept = drop_pending(text)
        if kept != text:
            write_whole(path, kept.encode())


def drop_pending(text: str) -> str:
    """Return Markdown without such paragraphs."""
    return PENDING.sub("", text).rstrip("\n") + "\n"
