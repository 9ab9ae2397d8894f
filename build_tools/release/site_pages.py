"""The Markdown of the repository as pages of the site: where each page is, and where its links lead there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from build_tools.base.findings import Finding
from build_tools.release.readme import FENCE, map_links

__all__ = ["Page", "Repository", "make_page", "place"]

IMAGES = (".svg", ".png")
ITEM = re.compile(r"(?:[-*+]|\d+\.) ")
TEXT = re.compile(r"(?![-*+] |\d+\. )[^\s#|<]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What links may lead to: the names of all files and of those that are pages, and the address."""

    files: frozenset[str]
    pages: frozenset[str]
    address: str

    def is_folder(self, name: str) -> bool:
        """Say whether any file lies below `name`."""
        return any(file.startswith(f"{name}/") for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: its text with the site's links, the images that it shows, and the links that lead nowhere."""

    text: str
    images: frozenset[str]
    findings: tuple[Finding, ...]


def place(name: str) -> str:
    """Return where a file of the repository is in the site: there, but for folders that begin with a dot."""
    return "/".join(part.lstrip(".") for part in name.split("/"))


def make_page(name: str, text: str, repository: Repository) -> Page:
    """Return the page of a Markdown file.

    A link to a page or an image stays relative; one to any other file or folder leads to the repository.
    """
    images: set[str] = set()
    findings: list[Finding] = []

    def change(target: str) -> str:
        path, mark, heading = target.partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        if f"{found}/README.md" in repository.pages:
            found = f"{found}/README.md"
        if found in repository.files and found.endswith(IMAGES):
            images.add(found)
        elif found in repository.files and found not in repository.pages:
            return f"{repository.address}/blob/main/{found}{mark}{heading}"
        elif found not in repository.pages:
            if repository.is_folder(found):
                return f"{repository.address}/tree/main/{found}"
            message = f"`{target}` is no file or folder of the repository"
            findings.append(Finding(code="link-broken", where=name, message=message))
        return posixpath.relpath(place(found), posixpath.dirname(place(name)) or ".") + mark + heading

    changed = map_links(text, change)
    return Page(text=_part_lists(changed), images=frozenset(images), findings=tuple(findings))


def _part_lists(text: str) -> str:
    """Put an empty line before a list that follows a paragraph, without which MkDocs would see no list."""
    lines: list[str] = []
    in_code = False
    for line in text.split("\n"):
        if FENCE.match(line):
            in_code = not in_code
        elif not in_code and ITEM.match(line) and lines and TEXT.match(lines[-1]):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
