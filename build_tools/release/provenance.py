"""Where artifacts come from: an in-toto Statement v1 with a SLSA v1 provenance predicate, and SHA256SUMS.

The statement is unsigned. It says what the build knows of itself (artifacts by digest, the commit, the
pinned build requirements, the compiler) and holds no time, so that a rebuild gives the same statement.
The release workflow has its own, signed, about the same digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ToolFailedError, ToolNotFoundError
from build_tools.base.findings import Artifact, Finding
from build_tools.base.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "PROVENANCE_FILENAME",
    "SUMS_FILENAME",
    "Source",
    "check_provenance",
    "check_sums",
    "find_source",
    "make_provenance",
    "make_sums",
]

SUMS_FILENAME = "SHA256SUMS"
PROVENANCE_FILENAME = "provenance.intoto.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "tag:extism.org,2026:extism-kernel/build/v1"
BUILDER_ID = "tag:extism.org,2026:extism-kernel/build_tools"
LOCK_URI = "file:build_tools/requirements/build-system.txt"
ALLOWED = re.compile(r"--hash=sha256:([0-9a-f]{64})")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The commit that a tree was built at, and whether the tree held changes on top of it."""

    commit: str
    is_dirty: bool


def find_source(root: Path) -> Source | None:
    """Return what git says of a tree, or None if it is no checkout (an sdist) or git is absent."""
    if not (root / ".git").exists():
        return None
    try:
        commit = run(["git", "rev-parse", "--verify", "HEAD"], cwd=root).strip()
        status = run(["git", "status", "--porcelain"], cwd=root)
    except (ToolFailedError, ToolNotFoundError):
        return None
    return Source(commit=commit, is_dirty=bool(status.strip()))


def make_sums(artifacts: Sequence[Artifact]) -> bytes:
    """Return the text of SHA256SUMS, as `sha256sum --check` reads it."""
    ordered = sorted(artifacts, key=lambda artifact: artifact.name)
    return "".join(f"{artifact.sha256}  {artifact.name}\n" for artifact in ordered).encode()


def parse_sums(data: bytes) -> dict[str, str]:
    """Return the digests in a SHA256SUMS by file name; lines of another form are left out."""
    lines = data.decode("utf-8", "replace").splitlines()
    matches = (re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines)
    return {match[2]: match[1] for match in matches if match is not None}


def check_sums(data: bytes, artifacts: Sequence[Artifact]) -> Iterator[Finding]:
    """Yield a finding for each artifact that SHA256SUMS lacks or gives another digest."""
    recorded = parse_sums(data)
    for artifact in artifacts:
        want = recorded.get(artifact.name)
        if want != artifact.sha256:
            message = f"has digest {artifact.sha256}, {SUMS_FILENAME} says {want or 'nothing'}"
            yield Finding(code="digest-differs", where=str(artifact.path), message=message)


def make_provenance(  # noqa: PLR0913 - the facts that the predicate has places for
    artifacts: Sequence[Artifact],
    *,
    info: Mapping[str, Any],
    source: Source | None,
    repository: str,
    lock: str,
    prebuilt: str | None,
    epoch: int,
) -> bytes:
    """Return the statement about artifacts, as JSON text ending in a newline.

    `repository` is where the source's commit can be had; `lock` the text of the lock file that the build
    environment was made from; `prebuilt` the digest of a kernel that was given instead of compiled; `epoch`
    the time that archive members carry.
    """
    subjects = [_subject(artifact.name, artifact.sha256) for artifact in artifacts]
    subjects += [_subject(module["file"], module["sha256"]) for module in info["flavours"].values()]
    statement: Json = {
        "_type": STATEMENT_TYPE,
        "subject": sorted(subjects, key=lambda subject: str(subject["name"])),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "command": ["python", "-m", "build_tools", "wheel"],
                    "version": info["version"],
                    "sourceDateEpoch": epoch,
                    **_source_parameters(source, repository),
                },
                "internalParameters": {"toolchain": info["toolchain"]},
                "resolvedDependencies": [
                    *_source_dependencies(source, repository),
                    *_kernel_dependencies(prebuilt),
                    *_requirement_dependencies(lock),
                ],
            },
            "runDetails": {"builder": {"id": BUILDER_ID, "version": {"extism-kernel": info["version"]}}},
        },
    }
    return (json.dumps(statement, indent=2, sort_keys=True) + "\n").encode()


def check_provenance(data: bytes, artifacts: Sequence[Artifact], *, where: str) -> Iterator[Finding]:
    """Yield a finding if the statement is malformed or does not speak of exactly these artifacts' digests."""
    try:
        statement = json.loads(data)
        subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
        types = (statement["_type"], statement["predicateType"])
    except (ValueError, TypeError, KeyError) as error:
        message = f"not an in-toto statement: {error!r}"
        yield Finding(code="provenance-invalid", where=where, message=message)
        return
    if types != (STATEMENT_TYPE, PREDICATE_TYPE):
        message = f"the types are {types}, they should be {(STATEMENT_TYPE, PREDICATE_TYPE)}"
        yield Finding(code="provenance-invalid", where=where, message=message)
    for artifact in artifacts:
        want = subjects.get(artifact.name)
        if want != artifact.sha256:
            message = f"has digest {artifact.sha256}, the provenance says {want or 'nothing'}"
            yield Finding(code="digest-differs", where=str(artifact.path), message=message)


def recorded_commit(data: bytes) -> str | None:
    """Return the commit that a statement names as its source, or None. The statement must be well-formed."""
    dependencies = json.loads(data)["predicate"]["buildDefinition"]["resolvedDependencies"]
    commits = (entry.get("digest", {}).get("gitCommit") for entry in dependencies)
    return next((commit for commit in commits if commit), None)


def _subject(name: str, sha256: str) -> Json:
    return {"name": name, "digest": {"sha256": sha256}}


def _source_parameters(source: Source | None, repository: str) -> Json:
    if source is None:
        return {}
    found = {"repository": repository, "gitCommit": source.commit, "hasUncommittedChanges": source.is_dirty}
    return {"source": found}


def _source_dependencies(source: Source | None, repository: str) -> list[Json]:
    if source is None:
        return []
    uri = f"git+{repository}@{source.commit}"
    return [{"name": "source", "uri": uri, "digest": {"gitCommit": source.commit}}]


def _kernel_dependencies(prebuilt: str | None) -> list[Json]:
    return [] if prebuilt is None else [{"name": "prebuilt kernel", "digest": {"sha256": prebuilt}}]


def _requirement_dependencies(lock: str) -> Iterator[Json]:
    """Yield the lock file, and each distribution that it pins with the digests that it allows.

    A digest would be one file's; which of a distribution's files a machine takes is its own affair.
    """
    digest = hashlib.sha256(lock.encode()).hexdigest()
    yield {"name": "build requirements", "uri": LOCK_URI, "digest": {"sha256": digest}}
    entries = lock.replace("\\\n", " ").splitlines()
    pins = ((PINNED.match(entry), ALLOWED.findall(entry)) for entry in entries)
    named = [(match["name"].lower(), match["version"], allowed) for match, allowed in pins if match]
    for name, version, allowed in sorted(named):
        uri = f"pkg:pypi/{name}@{version}"
        yield {"name": name, "uri": uri, "annotations": {"allowedSha256": sorted(allowed)}}
