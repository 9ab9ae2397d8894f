"""Every reason against a release: the tree, the records beside the artifacts, what is in them, the index.

Each check yields findings and stops at none; `build_tools.release.publish` uploads only what has no finding.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import PythonEnvironmentError
from build_tools.base.files import read_bounded, sha256_of
from build_tools.base.findings import Finding
from build_tools.base.process import run
from build_tools.ecosystems.identity import read_identity
from build_tools.kernel.values import FILENAMES
from build_tools.kernel.version import read_version, to_pep440
from build_tools.release.changelog import UNRELEASED, has_unreleased, newest_heading, read_sections_of
from build_tools.release.distributions import read_artifact
from build_tools.release.known import released_versions
from build_tools.release.proofs import check_against_tree
from build_tools.release.provenance import (
    PROVENANCE_FILENAME,
    SUMS_FILENAME,
    check_provenance,
    check_sums,
    find_source,
    recorded_commit,
)
from build_tools.release.sbom import check_sbom, make_sbom, member_digests
from build_tools.release.wheelfile import PACKAGE, check_wheel, find_member, sbom_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from build_tools.base.findings import Artifact
    from build_tools.base.project import Project
    from build_tools.release.distributions import Distributions
    from build_tools.release.index import IndexFile

__all__ = [
    "attestation_of",
    "check_attestations",
    "check_index",
    "check_release",
    "not_installed",
    "run_twine",
]

RAISE_VERSION = "a version is published once; raise `version` in kernel-src/Cargo.toml"
BUILD = "python -m build_tools wheel"


def check_release(project: Project, distributions: Distributions) -> Iterator[Finding]:
    """Yield every reason against releasing these artifacts from this tree, without asking an index."""
    version = read_version(project.cargo_toml)
    folder = distributions.wheel.path.parent
    yield from _check_tree(project, version, folder)
    yield from _check_records(distributions, folder)
    yield from _check_changelog(project, version)
    yield from check_wheel(distributions.wheel_members, version=to_pep440(version))
    yield from _check_kernel(distributions, version)
    yield from _check_modules(distributions)
    yield from check_against_tree(project, distributions)
    yield from _check_sbom(project, distributions, version)
    yield from _check_metadata(distributions)


def check_index(distributions: Distributions, present: Sequence[IndexFile]) -> Iterator[Finding]:
    """Yield a finding if the index has this version complete, or has other files of it than ours."""
    ours = {artifact.name: artifact for artifact in distributions.artifacts}
    stem = distributions.wheel.name.split("-py3-")[0]
    starts = (f"{stem}-", f"{stem}.tar.", f"{stem}.zip")
    there = [file for file in present if file.name in ours or file.name.startswith(starts)]
    for file in there:
        artifact = ours.get(file.name)
        if artifact is None:
            message = f"the index has `{file.name}` of this version, which is none of ours"
            yield Finding(code="version-exists", where=file.name, message=message)
        elif file.sha256 != artifact.sha256:
            message = f"the index has `{file.name}` with digest {file.sha256}, ours is {artifact.sha256}"
            yield Finding(code="version-exists", where=file.name, message=message, hint=RAISE_VERSION)
    if {file.name for file in there} >= ours.keys():
        message = "the index has every file of this version already"
        yield Finding(code="version-exists", where=stem, message=message, hint=RAISE_VERSION)


def check_attestations(distributions: Distributions) -> Iterator[Finding]:
    """Yield a finding for each artifact that has no attestation (PEP 740) beside it."""
    for artifact in distributions.artifacts:
        path = attestation_of(artifact)
        if not path.is_file():
            message = f"`{path.name}` is not beside the artifact"
            hint = "python -m build_tools attest"
            yield Finding(code="attestation-missing", where=str(path.parent), message=message, hint=hint)


def attestation_of(artifact: Artifact) -> Path:
    """Return where an artifact's attestation lies; the name is twine's rule."""
    return artifact.path.with_name(f"{artifact.name}.publish.attestation")


def _check_tree(project: Project, version: str, folder: Path) -> Iterator[Finding]:
    source = find_source(project.root)
    where = str(project.root)
    if source is None:
        message = "not a git checkout, so its commit is unknown"
        yield Finding(code="tree-unknown", where=where, message=message)
        return
    if source.is_dirty:
        hint = "git status --short"
        yield Finding(code="tree-dirty", where=where, message="the tree has uncommitted changes", hint=hint)
    provenance = folder / PROVENANCE_FILENAME
    if provenance.is_file():
        recorded = _commit_of(provenance)
        if recorded != source.commit:
            message = f"built at commit {recorded or '(unknown)'}, the tree is at {source.commit}"
            yield Finding(code="commit-differs", where=str(provenance), message=message, hint=BUILD)
    form = "--format=%(objectname) %(*objectname)"
    tagged = run(["git", "tag", "--list", f"v{version}", form], cwd=project.root).split()
    if not tagged:
        hint = f"python -m build_tools release {version}"
        yield Finding(code="tag-missing", where=where, message=f"there is no tag v{version}", hint=hint)
    elif source.commit not in tagged:
        message = f"the tag v{version} names another commit than {source.commit}"
        yield Finding(code="tag-differs", where=f"v{version}", message=message)


def _commit_of(provenance: Path) -> str | None:
    try:
        return recorded_commit(read_bounded(provenance))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _check_records(distributions: Distributions, folder: Path) -> Iterator[Finding]:
    for name in (SUMS_FILENAME, PROVENANCE_FILENAME):
        if not (folder / name).is_file():
            message = f"`{name}` is not beside the artifacts"
            yield Finding(code="record-missing", where=str(folder), message=message, hint=BUILD)
            return
    provenance = folder / PROVENANCE_FILENAME
    artifacts = [*distributions.artifacts, *distributions.suite]
    listed = [*artifacts, read_artifact(provenance)]
    yield from check_sums(read_bounded(folder / SUMS_FILENAME), listed)
    yield from check_provenance(read_bounded(provenance), artifacts, where=str(provenance))


def _check_changelog(project: Project, version: str) -> Iterator[Finding]:
    changelog = project.root / "CHANGELOG.md"
    newest = newest_heading(changelog)
    if newest != version:
        yield Finding(
            code="changelog-heading",
            where=str(changelog),
            message=f"the newest version is {newest or 'absent'}, it should be {version}",
            hint=f"add `## [{version}]` to CHANGELOG.md",
        )
    if has_unreleased(changelog):
        message = "there are entries under `Unreleased`"
        hint = f"move them under `## [{version}]`"
        yield Finding(code="changelog-unreleased", where=str(changelog), message=message, hint=hint)
    missing = set(read_sections_of(changelog)) - {UNRELEASED, version} - released_versions(project)
    for other in sorted(missing):
        message = f"{other} was released, but its digests are not on record: `verify` would not know it"
        hint = "python -m build_tools remember DIR, with that release's wheel and sdist in DIR"
        yield Finding(code="digests-not-recorded", where=str(changelog), message=message, hint=hint)


def _check_kernel(distributions: Distributions, version: str) -> Iterator[Finding]:
    where = f"{PACKAGE}/kernel_info.json"
    if distributions.info["version"] != version:
        message = f"the kernel is {distributions.info['version']}, kernel-src/Cargo.toml says {version}"
        yield Finding(code="version-differs", where=where, message=message, hint=BUILD)
    for code in distributions.info.get("allowed_findings", []):
        message = f"the kernel was staged in spite of the finding `{code}`"
        hint = "python -m build_tools kernel, without `--allow`"
        yield Finding(code="kernel-unfit", where=where, message=message, hint=hint)
    if not distributions.info["toolchain"]["is_release"]:
        message = "the kernel was not made with the release toolchain, so nobody could make its bytes again"
        hint = "python -m build_tools doctor"
        yield Finding(code="toolchain-not-release", where=where, message=message, hint=hint)


def _check_modules(distributions: Distributions) -> Iterator[Finding]:
    modules = distributions.info["flavours"]
    for flavour, filename in FILENAMES.items():
        member = find_member(distributions.wheel_members, f"{PACKAGE}/{filename}")
        want = modules.get(flavour, {}).get("sha256")
        if member is not None and sha256_of(member.data) != want:
            message = f"`{filename}` has digest {sha256_of(member.data)}, kernel_info.json says {want}"
            yield Finding(code="digest-differs", where=member.name, message=message)


def _check_sbom(project: Project, distributions: Distributions, version: str) -> Iterator[Finding]:
    name = sbom_name(f"extism_kernel-{to_pep440(version)}.dist-info")
    member = find_member(distributions.wheel_members, name)
    if member is not None:  # its absence is check_wheel's finding
        identity = read_identity(project.root / "pyproject.toml")
        expected = make_sbom(distributions.info, member_digests(distributions.wheel_members), identity)
        yield from check_sbom(member.data, expected, where=name)


def _check_metadata(distributions: Distributions) -> Iterator[Finding]:
    paths = [str(each.path) for each in (*distributions.artifacts, *distributions.suite)]
    try:
        from twine.commands.check import check  # noqa: PLC0415 - a release tool, absent in plain builds
        from twine.exceptions import TwineException  # noqa: PLC0415 - the same
    except ImportError:
        raise not_installed("twine") from None
    said = io.StringIO()
    handler, logger = logging.StreamHandler(said), logging.getLogger("twine")
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(said):
            has_failed = check(paths, strict=True)
    except TwineException as error:  # bytes that it cannot read as a distribution at all
        has_failed = True
        said.write(str(error))
    finally:
        logger.removeHandler(handler)
    if has_failed:
        message = f"twine check --strict: {said.getvalue().strip()}"
        yield Finding(code="metadata-invalid", where=distributions.wheel.name, message=message)


def run_twine(*arguments: str) -> None:
    """Run twine. Raises ToolFailedError with what it said, PythonEnvironmentError if it is not installed."""
    try:
        import twine  # noqa: F401, PLC0415 - only asked whether it is there; run as a program below
    except ImportError:
        raise not_installed("twine") from None
    run([sys.executable, "-m", "twine", *arguments], cwd=Path.cwd())


def not_installed(name: str) -> PythonEnvironmentError:
    """Return the error for a release tool that this Python lacks."""
    return PythonEnvironmentError(
        f"{name} is not installed",
        where=sys.executable,
        hint="python -m pip install -r build_tools/requirements/dev.txt",
    )
