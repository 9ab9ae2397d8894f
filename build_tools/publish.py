"""Whether a release may go out, and its upload with twine.

Every check yields findings; one finding and nothing is uploaded. Credentials are twine's affair
(TWINE_USERNAME, TWINE_PASSWORD, keyring, trusted publishing): they are neither read from files nor put on a
command line, and what twine says is shown with them blanked out.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build_tools.changelog import has_unreleased, newest_heading
from build_tools.distributions import Distributions, read_artifact
from build_tools.errors import PythonEnvironmentError, ToolFailedError
from build_tools.files import read_bounded, sha256_of
from build_tools.index import IndexFile, find_files
from build_tools.model import FILENAMES, Finding
from build_tools.process import run
from build_tools.provenance import (
    PROVENANCE_FILENAME,
    SUMS_FILENAME,
    check_provenance,
    check_sums,
    find_source,
    recorded_commit,
)
from build_tools.release_errors import ReleaseRefusedError, UploadFailedError
from build_tools.sbom import check_sbom
from build_tools.version import to_pep440
from build_tools.wheelfile import PACKAGE, check_wheel, find_member, sbom_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from build_tools.config import Project
    from build_tools.model import Artifact

__all__ = ["Published", "attest", "check_release", "publish"]

log = logging.getLogger(__name__)

SECRET_VARIABLES = ("TWINE_PASSWORD", "TWINE_CERT_PASSWORD")
Outcome = Literal["uploaded", "present", "would-upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One artifact and what became of it: uploaded now, there before with the same digest, or a dry run's."""

    artifact: Artifact
    outcome: Outcome


def publish(  # noqa: PLR0913 - what to publish, where to, and two options
    project: Project,
    distributions: Distributions,
    *,
    index: str,
    simple: str,
    is_dry_run: bool = False,
    with_attestations: bool = False,
) -> list[Published]:
    """Check a release and upload what the index does not have yet.

    After an index failed midway, the same call goes on with the files that are missing. Raises
    ReleaseRefusedError with all findings, IndexUnreachableError, or UploadFailedError.
    """
    present = find_files(simple) or []
    findings = [*check_release(project, distributions), *check_index(distributions, present)]
    if with_attestations:
        findings += check_attestations(distributions)
    if findings:
        raise ReleaseRefusedError(findings, where=f"{distributions.wheel.path.parent} -> {index}")
    there = {file.name for file in present}
    outcomes: list[Published] = []
    for artifact in distributions.artifacts:
        if artifact.name in there:
            outcomes.append(Published(artifact=artifact, outcome="present"))
            continue
        if not is_dry_run:
            _upload(artifact, index, outcomes, with_attestations=with_attestations)
        outcomes.append(Published(artifact=artifact, outcome="would-upload" if is_dry_run else "uploaded"))
    return outcomes


def check_release(project: Project, distributions: Distributions) -> Iterator[Finding]:
    """Yield every reason against releasing these artifacts from this tree, without asking an index."""
    version = str(distributions.info["version"])
    folder = distributions.wheel.path.parent
    yield from _check_tree(project, version, folder)
    yield from _check_records(distributions, folder)
    yield from _check_changelog(project, version)
    yield from check_wheel(distributions.wheel_members, version=to_pep440(version))
    yield from _check_modules(distributions)
    yield from _check_sbom(distributions, version)
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
            yield Finding(code="version-exists", where=file.name, message=message, hint=_RAISE_VERSION)
    if {file.name for file in there} >= ours.keys():
        message = "the index has every file of this version already"
        yield Finding(code="version-exists", where=stem, message=message, hint=_RAISE_VERSION)


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


def attest(distributions: Distributions) -> list[Path]:
    """Sign both artifacts with the identity of the job that runs this, and return the attestations.

    Works only where there is such an identity: in a release workflow. Raises ToolFailedError elsewhere.
    """
    files = [str(artifact.path) for artifact in distributions.artifacts]
    hint = "attestations are made in the release workflow; elsewhere publish without --attestations"
    run([sys.executable, "-m", "pypi_attestations", "sign", *files], cwd=Path.cwd(), hint=hint)
    return [attestation_of(artifact) for artifact in distributions.artifacts]


_RAISE_VERSION = "a version is published once; raise `version` in kernel-src/Cargo.toml"


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
            yield Finding(code="commit-differs", where=str(provenance), message=message, hint=_BUILD)
    form = "--format=%(objectname) %(*objectname)"
    tagged = run(["git", "tag", "--list", f"v{version}", form], cwd=project.root).split()
    if tagged and source.commit not in tagged:
        message = f"the tag v{version} names another commit than {source.commit}"
        yield Finding(code="tag-differs", where=f"v{version}", message=message)


_BUILD = "python -m build_tools wheel"


def _commit_of(provenance: Path) -> str | None:
    try:
        return recorded_commit(read_bounded(provenance))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _check_records(distributions: Distributions, folder: Path) -> Iterator[Finding]:
    for name in (SUMS_FILENAME, PROVENANCE_FILENAME):
        if not (folder / name).is_file():
            message = f"`{name}` is not beside the artifacts"
            yield Finding(code="record-missing", where=str(folder), message=message, hint=_BUILD)
            return
    provenance = folder / PROVENANCE_FILENAME
    listed = [*distributions.artifacts, read_artifact(provenance)]
    yield from check_sums(read_bounded(folder / SUMS_FILENAME), listed)
    yield from check_provenance(read_bounded(provenance), distributions.artifacts, where=str(provenance))


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


def _check_modules(distributions: Distributions) -> Iterator[Finding]:
    modules = distributions.info["flavours"]
    for flavour, filename in FILENAMES.items():
        member = find_member(distributions.wheel_members, f"{PACKAGE}/{filename}")
        want = modules.get(flavour, {}).get("sha256")
        if member is not None and sha256_of(member.data) != want:
            message = f"`{filename}` has digest {sha256_of(member.data)}, kernel_info.json says {want}"
            yield Finding(code="digest-differs", where=member.name, message=message)


def _check_sbom(distributions: Distributions, version: str) -> Iterator[Finding]:
    name = sbom_name(f"extism_kernel-{to_pep440(version)}.dist-info")
    member = find_member(distributions.wheel_members, name)
    if member is not None:  # its absence is check_wheel's finding
        yield from check_sbom(member.data, distributions.info, where=name)


def _check_metadata(distributions: Distributions) -> Iterator[Finding]:
    try:
        _twine("check", "--strict", *(str(artifact.path) for artifact in distributions.artifacts))
    except ToolFailedError as error:
        message = f"twine check --strict: {error.output.strip()}"
        yield Finding(code="metadata-invalid", where=distributions.wheel.name, message=message)


def _upload(artifact: Artifact, index: str, done: Sequence[Published], *, with_attestations: bool) -> None:
    options = ["--non-interactive", "--disable-progress-bar", "--config-file", os.devnull]
    files = [str(artifact.path)]
    if with_attestations:
        options.append("--attestations")
        files.append(str(attestation_of(artifact)))
    log.info("uploading %s", artifact.name)
    try:
        _twine("upload", *options, "--repository-url", f"{index}/", *files)
    except ToolFailedError as error:
        there = ", ".join(one.artifact.name for one in done) or "nothing"
        raise UploadFailedError(
            f"the index did not take `{artifact.name}`; it has: {there}\n{_blank(error.output).strip()}",
            where=index,
            hint="the same command goes on with what is missing",
        ) from None


def _twine(*arguments: str) -> None:
    try:
        import twine  # noqa: F401, PLC0415 - only asked whether it is there; run as a program below
    except ImportError:
        raise PythonEnvironmentError(
            "twine is not installed",
            hint="python -m pip install -r build_tools/requirements/dev.txt",
        ) from None
    run([sys.executable, "-m", "twine", *arguments], cwd=Path.cwd())


def _blank(text: str) -> str:
    for name in SECRET_VARIABLES:
        secret = os.environ.get(name)
        if secret:
            text = text.replace(secret, "***")
    return text
