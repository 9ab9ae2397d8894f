"""Every place in the tree that names the version of the kernel: found by its form, not listed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.files import read_bounded, write_whole
from build_tools.base.process import run
from build_tools.kernel.version import to_pep440

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Place", "find_places", "set_version"]

# The records of what was and what was measured keep the versions that they were made with.
RECORDS = ("CHANGELOG.md", "known_digests.json", "upstream_digests.json")
# In each form the first group is what stands before the version.
FORMS = (
    r'(^name = "extism-kernel"\nversion = "){}(?=")',  # Cargo.toml, Cargo.lock
    r'("extism-kernel": "[\^~]?){}(?=")',  # package.json
    r"(\bextism-kernel(?:@|:)v?){}(?![\w.+-])",  # what npm, cargo and Maven install
    r"(\bkernel-go(?:@| )v){}(?![\w.+-])",
)
PYTHON_FORM = r"(\bextism-kernel(?:\[[a-z,]+\])?\s?==\s?){}(?![\w.+-])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place: the file, relative to the root with slashes, and the line, counted from 1."""

    file: str
    line: int


def find_places(root: Path, version: str) -> list[Place]:
    """Return every place in git's tracked files that names `version` as the kernel's, in the files' order."""
    places = []
    for name, text in _texts(root, version):
        starts = sorted({match.end() for match in _matches(text, version)})
        places += [Place(file=name, line=text.count("\n", 0, start) + 1) for start in starts]
    return places


def set_version(root: Path, old: str, new: str, *, into: Path) -> None:
    """Write the files in which `find_places` finds `old` below `into`, with `new` there."""
    for name, text in _texts(root, old):
        changed = text
        for pattern, after in zip(_patterns(old), _spellings(new), strict=True):
            changed = pattern.sub(rf"\g<1>{after}", changed)
        if changed != text:
            write_whole(into / name, changed.encode())


def _texts(root: Path, version: str) -> list[tuple[str, str]]:
    names = run(["git", "ls-files", "-z"], cwd=root).split("\0")
    texts = []
    for name in names:
        path = root / name
        if not name or name.endswith(RECORDS) or path.is_symlink() or not path.is_file():
            continue
        try:
            text = read_bounded(path).decode()
        except UnicodeDecodeError:
            continue
        if any(spelling in text for spelling in {version, to_pep440(version)}):
            texts.append((name, text))
    return texts


def _matches(text: str, version: str) -> list[re.Match[str]]:
    return [match for pattern in _patterns(version) for match in pattern.finditer(text)]


def _patterns(version: str) -> list[re.Pattern[str]]:
    forms = zip((*FORMS, PYTHON_FORM), _spellings(version), strict=True)
    return [re.compile(form.format(re.escape(spelling)), re.MULTILINE) for form, spelling in forms]


def _spellings(version: str) -> list[str]:
    """Return the version as each form spells it: only Python's has a spelling of its own."""
    return [version for _ in FORMS] + [to_pep440(version)]
