"""What proves that artifacts are this tree's: its own files, its canonical kernel, and a second build.

The records beside the artifacts (RECORD, SHA256SUMS, the provenance) can be changed together with them; the
tree at the tag cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import parse_tar_gz
from build_tools.base.errors import ContractError
from build_tools.base.files import digest_files, read_bounded, sha256_of
from build_tools.base.findings import Finding
from build_tools.kernel.canonical import RECORD_COMMAND, read_canonical
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from build_tools.release.provenance import parse_sums
from build_tools.release.wheelfile import PACKAGE, find_member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from build_tools.base.project import Project
    from build_tools.release.distributions import Distributions

__all__ = ["check_against_tree", "check_rebuilt"]

STAGED = frozenset({*FILENAMES.values(), INFO_FILENAME})
ARCHIVE_LIMIT = 64 << 20
REPRODUCE = "python -m build_tools reproduce --against dist --sums FILE, then publish --rebuilt FILE"


def check_against_tree(project: Project, distributions: Distributions) -> Iterator[Finding]:
    """Yield a finding for each file of the wheel and of the sdist that is not the tree's, byte for byte."""
    yield from _check_canonical(project, distributions)
    yield from _check_package(project, distributions)
    yield from _check_sdist(project, distributions)


def check_rebuilt(distributions: Distributions, sums: Path | None) -> Iterator[Finding]:
    """Yield a finding for each artifact that a second build, whose SHA256SUMS are `sums`, gave otherwise."""
    if sums is None:
        message = "there is no second build to compare with"
        where = str(distributions.wheel.path.parent)
        yield Finding(code="rebuild-missing", where=where, message=message, hint=REPRODUCE)
        return
    rebuilt = parse_sums(read_bounded(sums))
    for artifact in (*distributions.artifacts, *distributions.suite):
        want = rebuilt.get(artifact.name)
        if want != artifact.sha256:
            message = f"`{artifact.name}` has digest {artifact.sha256}, the second build {want or 'nothing'}"
            yield Finding(code="rebuild-differs", where=str(sums), message=message)


def _check_canonical(project: Project, distributions: Distributions) -> Iterator[Finding]:
    where = str(project.canonical_json)
    try:
        canonical = read_canonical(project.canonical_json)
    except ContractError as error:
        yield Finding(code="not-canonical", where=where, message=str(error), hint=error.hint)
        return
    if canonical.source_sha256 != digest_files(project.root, project.kernel_inputs()):
        message = "the digests on record are those of other sources"
        yield Finding(code="not-canonical", where=where, message=message, hint=RECORD_COMMAND)
    for flavour, filename in FILENAMES.items():
        member = find_member(distributions.wheel_members, f"{PACKAGE}/{filename}")
        if member is None:
            continue  # its absence is another check's finding
        found = sha256_of(member.data)
        if found != canonical.sha256[flavour]:
            message = f"`{filename}` has digest {found}, the tree's kernel {canonical.sha256[flavour]}"
            yield Finding(code="not-canonical", where=member.name, message=message)


def _check_package(project: Project, distributions: Distributions) -> Iterator[Finding]:
    """Compare the package's members with the tree's files, in both directions for modules."""
    members = {member.name: member.data for member in distributions.wheel_members}
    for name, data in members.items():
        folder, _, rest = name.partition("/")
        if folder == PACKAGE and rest not in STAGED:
            yield from _compare(project.root / name, data, name)
    for path in sorted(project.package.rglob("*.py")):
        name = path.relative_to(project.root).as_posix()
        if name not in members:
            message = f"`{name}` of the tree is not in the wheel"
            yield Finding(code="tree-differs", where=name, message=message)


def _check_sdist(project: Project, distributions: Distributions) -> Iterator[Finding]:
    path = distributions.sdist.path
    stem = path.name.removesuffix(".tar.gz")
    for member in parse_tar_gz(read_bounded(path, limit=ARCHIVE_LIMIT), str(path)):
        name = member.name.removeprefix(f"{stem}/")
        if name != "PKG-INFO":
            yield from _compare(project.root / name, member.data, f"{stem}/{name}")


def _compare(path: Path, data: bytes, name: str) -> Iterator[Finding]:
    if not path.is_file():
        yield Finding(code="tree-differs", where=name, message=f"`{name}` is not in the tree")
    elif path.read_bytes() != data:
        yield Finding(code="tree-differs", where=name, message=f"`{name}` is not what the tree has")
