"""What a built site must hold: each link leads to something, and nothing is loaded from elsewhere."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote

from build_tools.base.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_site"]

OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
STYLE_OUTSIDE = re.compile(r"""(?:url\(|@import )\s*["']?(?P<target>(?:https?:)?//[^"')]+)""")
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


@dataclass(slots=True)
class _Page:
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    """Collects what a page has, links to and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.page = _Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the identifiers and the addresses of one element."""
        values = {name: value for name, value in attrs if value}
        self.page.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        if LOADS.get(tag) in values:
            self.page.loads.append(values[LOADS[tag]])


def check_site(folder: Path) -> Iterator[Finding]:
    """Yield a finding for each link that leads nowhere, and for each thing that is loaded from elsewhere."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        pages[path.relative_to(folder).as_posix()] = reader.page
    for name, page in pages.items():
        for target in [*page.links, *page.loads]:
            if not OUTSIDE.match(target) and not _is_there(folder, pages, name, target):
                yield Finding(code="link-broken", where=name, message=f"`{target}` leads nowhere")
        for target in page.loads:
            if OUTSIDE.match(target) and not target.startswith("data:"):
                yield _external(name, target)
    for path in sorted(folder.rglob("*.css")):
        for match in STYLE_OUTSIDE.finditer(path.read_text(encoding="utf-8")):
            yield _external(path.relative_to(folder).as_posix(), match["target"])


def _external(name: str, target: str) -> Finding:
    return Finding(code="resource-external", where=name, message=f"`{target}` is loaded from elsewhere")


def _is_there(folder: Path, pages: dict[str, _Page], name: str, target: str) -> bool:
    path, _, heading = unquote(target).partition("#")
    start = "" if name == "404.html" else posixpath.dirname(name)  # that one is shown for any address
    found = posixpath.normpath(posixpath.join(start, path.partition("?")[0].lstrip("/"))) if path else name
    if (folder / found).is_dir():
        found = posixpath.normpath(posixpath.join(found, "index.html"))
    if found in pages:
        return not heading or heading in pages[found].ids
    return (folder / found).is_file()
