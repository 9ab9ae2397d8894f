"""The commit and the tag of a release, and the commit that opens the version after it.

All is made in a scratch copy of the tree and becomes one commit, to which the branch is then moved: a run
that ended midway leaves the checkout as it was, and the same command goes on.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build_tools.base.errors import ContractError, ReleaseRefusedError, ToolFailedError, VersionError
from build_tools.base.files import digest_files, read_bounded, write_whole
from build_tools.base.findings import Finding
from build_tools.base.process import run
from build_tools.base.project import Project
from build_tools.kernel.canonical import RECORD_COMMAND, read_canonical
from build_tools.kernel.values import FILENAMES
from build_tools.kernel.version import PATTERN, check_version, read_version
from build_tools.release.changelog import date_unreleased, has_unreleased, open_unreleased
from build_tools.release.known import remember
from build_tools.release.pending import remove_pending
from build_tools.release.places import Place, find_places, set_version
from build_tools.release.provenance import find_source
from extism_kernel_pkg.vendored.known import order

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Prepared", "next_version", "prepare_next", "prepare_release"]

BRANCH = "main"
# Of builds between releases. SemVer, PEP 440 and Maven order this before the release; they differ on `dev`.
BETWEEN = "-rc.0"
Outcome = Literal["committed", "present", "would-commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a version's commit changes; `tag` is None between releases, `commit` in a dry run."""

    version: str
    outcome: Outcome
    places: tuple[Place, ...]
    files: tuple[str, ...]
    commit: str | None
    tag: str | None


def prepare_release(project: Project, version: str, *, is_dry_run: bool = False) -> Prepared:
    """Commit and tag `version`. A dry run does all but the commit, the kernel's digests too.

    Raises ReleaseRefusedError with every reason against it, and what `kernel --record` raises.
    """
    tag = f"v{version}"
    findings = [*_check_tree(project), *_check_version(project, version)]
    is_released = _is_release_commit(project, version)
    if not is_released:
        findings += _check_contents(project)
    if not (is_released and _commit_of(project, tag) == _commit_of(project, "HEAD")):
        findings += _check_tag(project, tag)
    if findings:
        raise ReleaseRefusedError(findings, where=str(project.root))
    if is_released:
        return _tag(project, version, (), (), is_dry_run=is_dry_run, was_there=True)
    date = dt.datetime.now(dt.timezone.utc).date().isoformat()
    places, files, commit = _make_commit(project, version, date=date, is_dry_run=is_dry_run)
    if commit is not None:
        run(["git", "merge", "--ff-only", "--quiet", commit], cwd=project.root)
    return _tag(project, version, places, files, is_dry_run=is_dry_run, was_there=False)


def prepare_next(project: Project, *, is_dry_run: bool = False) -> Prepared:
    """Put the digests of the version in the tree on record, and open the version after it.

    Raises ReleaseRefusedError with every reason against it, for instance that the version has no tag.
    """
    version = read_version(project.cargo_toml)
    findings = [*_check_tree(project)]
    if version.endswith(BETWEEN):
        message = f"{version} is the version after a release already"
        findings.append(Finding(code="version-open", where=str(project.cargo_toml), message=message))
    elif _commit_of(project, f"v{version}") is None:
        hint = f"python -m build_tools release {version}"
        message = f"{version} has no tag, so it was not released"
        findings.append(Finding(code="tag-missing", where=f"v{version}", message=message, hint=hint))
    if findings:
        raise ReleaseRefusedError(findings, where=str(project.root))
    opened = next_version(version)
    places, files, commit = _make_commit(project, opened, date=None, is_dry_run=is_dry_run)
    if commit is not None:
        run(["git", "merge", "--ff-only", "--quiet", commit], cwd=project.root)
    outcome: Outcome = "would-commit" if commit is None else "committed"
    return Prepared(version=opened, outcome=outcome, places=places, files=files, commit=commit, tag=None)


def next_version(version: str) -> str:
    """Return the version of the builds after a release: the next patch, marked as between releases.

    After a pre-release it is the next of its kind, since every version in between would sort wrongly.
    """
    match = PATTERN.fullmatch(check_version(version, where="version"))
    if match is None:
        raise AssertionError(version)
    major, minor, patch, kind, number = match.groups()
    if kind:
        return f"{major}.{minor}.{patch}-{kind}.{int(number) + 1}"
    return f"{major}.{minor}.{int(patch) + 1}{BETWEEN}"


def _check_tree(project: Project) -> Iterator[Finding]:
    source = find_source(project.root)
    where = str(project.root)
    if source is None:
        yield Finding(code="tree-unknown", where=where, message="not a git checkout")
        return
    if source.is_dirty:
        hint = "commit or stash them; `git status --short` lists them"
        yield Finding(code="tree-dirty", where=where, message="the tree has uncommitted changes", hint=hint)
    branch = run(["git", "branch", "--show-current"], cwd=project.root).strip()
    if branch != BRANCH:
        message = f"the branch is {branch or '(none)'}, releases are made on {BRANCH}"
        yield Finding(code="branch-differs", where=where, message=message, hint=f"git switch {BRANCH}")


def _check_version(project: Project, version: str) -> Iterator[Finding]:
    try:
        check_version(version, where="VERSION")
    except VersionError as error:
        yield Finding(code="version-invalid", where="VERSION", message=error.message, hint=error.hint)
        return
    if version.endswith(BETWEEN):
        message = f"`{BETWEEN}` marks builds between releases"
        yield Finding(code="version-invalid", where=version, message=message, hint="choose another number")
    current = read_version(project.cargo_toml)
    if order(version) < order(current):
        message = f"{version} is before {current}, which the tree has"
        yield Finding(code="version-order", where=version, message=message, hint="choose a later version")


def _check_tag(project: Project, tag: str) -> Iterator[Finding]:
    if find_source(project.root) is not None and _commit_of(project, tag) is not None:
        hint = "a version is released once; choose another"
        yield Finding(code="tag-exists", where=tag, message=f"there is a tag {tag}", hint=hint)


def _check_contents(project: Project) -> Iterator[Finding]:
    changelog = project.root / "CHANGELOG.md"
    if not has_unreleased(changelog):
        message = "there is nothing under `Unreleased`, so there is nothing to release"
        hint = "say what changed, the ABI first"
        yield Finding(code="changelog-empty", where=str(changelog), message=message, hint=hint)
    try:
        recorded = read_canonical(project.canonical_json).source_sha256
    except ContractError as error:
        yield Finding(code="not-canonical", where=str(project.canonical_json), message=str(error))
        return
    if recorded != digest_files(project.root, project.kernel_inputs()):
        message = "the digests on record are those of other sources"
        where = str(project.canonical_json)
        yield Finding(code="not-canonical", where=where, message=message, hint=RECORD_COMMAND)


def _commit_of(project: Project, revision: str) -> str | None:
    try:
        return run(
            ["git", "rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}"], cwd=project.root
        ).strip()
    except ToolFailedError:
        return None


def _subject(version: str) -> str:
    return f"build: open {version}" if version.endswith(BETWEEN) else f"build: release {version}"


def _is_release_commit(project: Project, version: str) -> bool:
    """Say whether HEAD is what an earlier run committed for this version."""
    if find_source(project.root) is None or read_version(project.cargo_toml) != version:
        return False
    return run(["git", "log", "-1", "--format=%s"], cwd=project.root).strip() == _subject(version)


def _tag(  # noqa: PLR0913 - private; what `Prepared` holds
    project: Project,
    version: str,
    places: tuple[Place, ...],
    files: tuple[str, ...],
    *,
    is_dry_run: bool,
    was_there: bool,
) -> Prepared:
    tag = f"v{version}"
    head = _commit_of(project, "HEAD")
    has_tag = _commit_of(project, tag) == head
    if not (has_tag or is_dry_run):
        run(["git", "tag", "--annotate", "--message", f"extism-kernel {version}", tag], cwd=project.root)
    outcome: Outcome = "committed"
    if was_there and has_tag:
        outcome = "present"
    elif is_dry_run:
        outcome = "would-commit"
    commit = None if outcome == "would-commit" else head
    return Prepared(version=version, outcome=outcome, places=places, files=files, commit=commit, tag=tag)


def _make_commit(
    project: Project, version: str, *, date: str | None, is_dry_run: bool
) -> tuple[tuple[Place, ...], tuple[str, ...], str | None]:
    """Make the commit of a version on top of HEAD, without moving the branch to it."""
    current = read_version(project.cargo_toml)
    places = tuple(find_places(project.root, current))
    git_dir = run(["git", "rev-parse", "--absolute-git-dir"], cwd=project.root).strip()
    with tempfile.TemporaryDirectory(prefix="extism-kernel-release-") as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        env = {"GIT_DIR": git_dir, "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(Path(name) / "index")}
        run(["git", "read-tree", "HEAD"], cwd=tree, env=env)
        run(["git", "checkout-index", "--all", "--force"], cwd=tree, env=env)
        scratch = Project(tree)
        if date is None:
            _remember_release(scratch, current)
        set_version(project.root, current, version, into=tree)
        _write_changelog(scratch, version, date)
        if "-" not in version and date is not None:
            remove_pending(tree)
        if current != version:
            _record(scratch)
        run(["git", "add", "--update"], cwd=tree, env=env)
        files = tuple(run(["git", "diff", "--cached", "--name-only", "HEAD"], cwd=tree, env=env).split("\n"))
        files = tuple(file for file in files if file)
        if is_dry_run:
            return places, files, None
        written = run(["git", "write-tree"], cwd=tree, env=env).strip()
        message = ["-m", _subject(version), "-m", _body(version, date)]
        made = run(["git", "commit-tree", written, "-p", "HEAD", *message], cwd=tree, env=env)
    return places, files, made.strip()


def _body(version: str, date: str | None) -> str:
    if date is None:
        return f"Builds from here on are {version}, and the digests of the release are on record."
    return f"CHANGELOG.md says what {version} brings; kernel-src/canonical.json has its digests."


def _write_changelog(scratch: Project, version: str, date: str | None) -> None:
    path = scratch.root / "CHANGELOG.md"
    text = read_bounded(path).decode()
    changed = open_unreleased(text) if date is None else date_unreleased(text, version, date)
    write_whole(path, changed.encode())


def _remember_release(scratch: Project, version: str) -> None:
    canonical = read_canonical(scratch.canonical_json)
    modules = {flavour: {"sha256": digest} for flavour, digest in canonical.sha256.items()}
    remember(scratch, {"version": version, "toolchain": {"rustc": canonical.rustc}, "flavours": modules})


def _record(scratch: Project) -> None:
    """Make the kernel of the scratch copy and write its digests there, and its size into COSTS.md.

    Nothing is staged in the package.
    """
    out = scratch.root.parent / "kernel"
    command = [sys.executable, "-m", "build_tools", "--no-bootstrap", "kernel", "--record", "--json"]
    made = json.loads(run([*command, "--out", str(out)], cwd=scratch.root))
    if not made["canonical"]:
        raise ContractError([made["canonical_reason"]], where=scratch.canonical_json, hint=RECORD_COMMAND)
    tables = importlib.import_module("build_tools.bench.tables")  # needs wasmtime, and `--help` must not
    file = next(each for each in made["files"] if each["name"] == FILENAMES["context"])
    costs = scratch.kernel_src / "COSTS.md"
    text = read_bounded(costs).decode()
    write_whole(costs, tables.replace_size(text, "ours", file["size"], file["sha256"]).encode())
