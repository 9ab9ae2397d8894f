"""`release` in a scratch checkout: refused with every reason, made whole, continued after it was cut."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ReleaseRefusedError
from build_tools.base.process import run as run_tool
from build_tools.base.project import Project
from build_tools.kernel.version import read_version
from build_tools.release import prepare
from build_tools.release.prepare import BETWEEN, prepare_next, prepare_release
from tests.integration.packaging.support import commit, run

if TYPE_CHECKING:
    import os
    from pathlib import Path

pytestmark = pytest.mark.slow
VERSION = "9.0.0"
# Of the unit tests those that name a version or hold a module against one.
SENSITIVE = ("test_package.py", "test_pipeline.py", "test_cli.py", "test_canonical.py", "packaging")


@pytest.fixture
def project(own_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout on `main` with an entry in its changelog."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.invalid")
    run("git", "branch", "-m", "main", cwd=own_checkout)
    run("git", "tag", "-d", *run("git", "tag", cwd=own_checkout).stdout.split(), cwd=own_checkout)
    changelog = own_checkout / "CHANGELOG.md"
    text = re.sub(r"^## \[Unreleased\]\n+", "", changelog.read_text(), flags=re.MULTILINE)
    head, mark, rest = text.partition("## [")
    changelog.write_text(f"{head}## [Unreleased]\n\n### ABI\n- None changed.\n\n{mark}{rest}")
    commit(own_checkout)
    return Project(own_checkout)


def git(project: Project, *arguments: str) -> str:
    return run("git", *arguments, cwd=project.root).stdout.strip()


@pytest.mark.timeout(900)  # it runs other tests
def test_release_and_the_version_after_it(project: Project) -> None:
    before = git(project, "rev-parse", "HEAD")
    tried = prepare_release(project, VERSION, is_dry_run=True)
    assert (tried.outcome, tried.commit) == ("would-commit", None)
    assert (git(project, "rev-parse", "HEAD"), git(project, "status", "--short")) == (before, "")

    done = prepare_release(project, VERSION)
    assert done.files == tried.files
    assert "kernel-src/canonical.json" in done.files
    assert git(project, "status", "--short") == ""
    assert git(project, "rev-parse", f"v{VERSION}^{{commit}}") == git(project, "rev-parse", "HEAD")
    assert git(project, "rev-parse", "HEAD^") == before
    assert git(project, "cat-file", "-t", f"v{VERSION}") == "tag"
    assert re.search(
        rf"^## \[{VERSION}\] - \d{{4}}-\d\d-\d\d$", (project.root / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert read_version(project.cargo_toml) == VERSION
    assert prepare_release(project, VERSION).outcome == "present"

    build = [sys.executable, "-m", "build_tools", "--no-bootstrap"]
    staged = json.loads(run(*build, "kernel", "--json", cwd=project.root).stdout)
    assert (staged["version"], staged["canonical"]) == (VERSION, True)
    assert "until the first release" not in (project.root / "README.md").read_text()
    assert f"`{staged['files'][0]['sha256'][:16]}`" in (project.kernel_src / "COSTS.md").read_text()
    tests = [f"tests/unit/{name}" for name in SENSITIVE]
    run(sys.executable, "-m", "pytest", "-q", "-m", "not slow", *tests, cwd=project.root)

    opened = prepare_next(project)
    assert opened.version == f"9.0.1{BETWEEN}" == read_version(project.cargo_toml)
    known = json.loads((project.package / "known_digests.json").read_bytes())["releases"]
    assert {name: known[-1][name] for name in ("version", "modules")} == {
        "version": VERSION,
        "modules": {
            flavour: file["sha256"]
            for flavour, file in zip(("context", "core"), staged["files"], strict=False)
        },
    }
    assert "## [Unreleased]\n\n## [9.0.0]" in (project.root / "CHANGELOG.md").read_text()
    with pytest.raises(ReleaseRefusedError) as refused:
        prepare_next(project)
    assert [finding.code for finding in refused.value.findings] == ["version-open"]


def test_every_reason_is_given_at_once(project: Project) -> None:
    run("git", "switch", "-q", "-c", "topic", cwd=project.root)
    run("git", "tag", "v0.0.1", cwd=project.root)
    changelog = project.root / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("### ABI\n- None changed.\n", "", 1))
    source = project.kernel_src / "src" / "lib.rs"
    source.write_text(source.read_text() + "// changed\n")
    before = git(project, "rev-parse", "HEAD")
    with pytest.raises(ReleaseRefusedError) as refused:
        prepare_release(project, "0.0.1")
    assert {finding.code for finding in refused.value.findings} == {
        "tree-dirty",
        "branch-differs",
        "tag-exists",
        "version-order",
        "changelog-empty",
        "not-canonical",
    }
    assert git(project, "rev-parse", "HEAD") == before


@pytest.mark.parametrize("version", ["1.0", "98.0.0-dev.1", f"98.0.0{BETWEEN}"])
def test_versions_that_are_none(project: Project, version: str) -> None:
    with pytest.raises(ReleaseRefusedError) as refused:
        prepare_release(project, version)
    assert [finding.code for finding in refused.value.findings] == ["version-invalid"]


def test_a_version_without_a_tag_has_none_after_it(project: Project) -> None:
    path = project.cargo_toml
    path.write_text(
        re.sub(r'^version = ".*"$', f'version = "{VERSION}"', path.read_text(), flags=re.MULTILINE)
    )
    commit(project.root)
    with pytest.raises(ReleaseRefusedError) as refused:
        prepare_next(project)
    assert [finding.code for finding in refused.value.findings] == ["tag-missing"]


class CutError(Exception):
    """The run ended here."""


@pytest.mark.parametrize("cut", ["read-tree", "add", "write-tree", "commit-tree", "merge", "tag"])
def test_a_run_that_was_cut_is_resumed(project: Project, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_tool

    def cutting(argv: list[str | os.PathLike[str]], **options: object) -> str:
        if argv[:2] == ["git", cut]:
            raise CutError
        return real(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare, "_record", lambda _: None)  # the compiler is the other test's
    before = git(project, "rev-parse", "HEAD")
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "run", cutting)
        with pytest.raises(CutError):
            prepare_release(project, VERSION)
    assert git(project, "status", "--short") == ""
    assert git(project, "tag") == ""
    prepare_release(project, VERSION)
    assert git(project, "rev-parse", f"v{VERSION}^{{commit}}") == git(project, "rev-parse", "HEAD")
    assert git(project, "rev-parse", "HEAD^") == before
