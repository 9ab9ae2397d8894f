"""The first difference between two artifacts that should be the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, parse_tar_gz, parse_zip
from build_tools.base.files import sha256_of
from extism_kernel_pkg._wasm import InvalidModuleError, Section, is_module, read_sections

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Comparison", "compare_artifacts", "find_difference"]

ZIP_SUFFIXES = (".whl", ".jar", ".nupkg", ".zip")
DERIVED = ("/RECORD", ".cdx.json")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".crate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One artifact of two builds: both digests and, if they differ, the first place where."""

    name: str
    first: str
    second: str
    difference: str | None


def compare_artifacts(name: str, first: bytes, second: bytes) -> Comparison:
    """Compare the same artifact of two builds."""
    difference = None if first == second else find_difference(name, first, second)
    return Comparison(name=name, first=sha256_of(first), second=sha256_of(second), difference=difference)


def find_difference(name: str, first: bytes, second: bytes) -> str:
    """Return words for the first place where two unequal artifacts differ: member, section, offset."""
    if name.endswith(ZIP_SUFFIXES):
        return _members_difference(name, parse_zip(first, name), parse_zip(second, name))
    if name.endswith(TAR_SUFFIXES):
        return _members_difference(name, parse_tar_gz(first, name), parse_tar_gz(second, name))
    if is_module(first) and is_module(second):
        return _module_difference(name, first, second)
    return f"`{name}` from {_bytes_difference(first, second)}"


def _members_difference(name: str, first: Sequence[Member], second: Sequence[Member]) -> str:
    one = {member.name: member for member in first}
    two = {member.name: member for member in second}
    # These last: they differ because another member does.
    for path in sorted(one.keys() | two.keys(), key=lambda path: (path.endswith(DERIVED), path)):
        if path not in one or path not in two:
            return f"`{path}` is only in the {'second' if path not in one else 'first'} build's `{name}`"
        if one[path].data != two[path].data:
            return f"in `{name}`: {find_difference(path, one[path].data, two[path].data)}"
        if one[path].mode != two[path].mode:
            return f"in `{name}`: `{path}` has mode {one[path].mode:o} and {two[path].mode:o}"
    if [member.name for member in first] != [member.name for member in second]:
        return f"the members of `{name}` are equal, their order is not"
    return f"the members of `{name}` are equal, the archive's own fields (times, compression) are not"


def _module_difference(name: str, first: bytes, second: bytes) -> str:
    try:
        pairs = list(zip_longest(read_sections(first), read_sections(second)))
    except InvalidModuleError:
        return f"`{name}` from {_bytes_difference(first, second)}"
    for one, two in pairs:
        if one is None or two is None:
            return f"`{name}`: section `{_section_name(one or two)}` is only in one build"
        if (one.id, one.name) != (two.id, two.name):
            return f"`{name}`: section `{one.name}` stands where the other build has `{two.name}`"
        if one.content != two.content:
            place = _bytes_difference(one.content, two.content)
            return f"`{name}`: section `{one.name}` (content at {one.offset:#x}), {place}"
    return f"`{name}` from {_bytes_difference(first, second)}"


def _section_name(section: Section | None) -> str:
    return "" if section is None else section.name


def _bytes_difference(first: bytes, second: bytes) -> str:
    pairs = enumerate(zip(first, second, strict=False))
    at = next((at for at, (one, two) in pairs if one != two), min(len(first), len(second)))
    sizes = "" if len(first) == len(second) else f"; sizes {len(first)} and {len(second)} bytes"
    return f"offset {at:#x}{sizes}"
