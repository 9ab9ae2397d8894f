"""A tree that is not that of the release, or a release that nobody built again, is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.kernel.version import read_version
from tests.integration.packaging.publishing import REFUSED
from tests.integration.packaging.support import commit, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.packaging.support import BuildTools, Done, PackageIndex, Release

pytestmark = pytest.mark.slow


def test_tree_with_changes_is_refused(
    publish: Callable[..., Done], index: PackageIndex, own_checkout: Path, release: Release
) -> None:
    (own_checkout / "LICENSE").write_text("mine\n")
    done = publish(own_checkout, release)
    assert done.returncode == REFUSED
    assert "finding[tree-dirty]" in done.stderr
    assert index.names == []


def test_artifacts_of_another_commit_are_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    (own_checkout / "LICENSE").write_text("mine\n")
    commit(own_checkout)
    done = publish(own_checkout, release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[commit-differs]" in done.stderr


def test_tree_that_is_no_checkout_is_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    (own_checkout / ".git").rename(own_checkout.parent / "moved-away")
    done = publish(own_checkout, release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[tree-unknown]" in done.stderr


def test_tag_on_another_commit_is_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    (own_checkout / "LICENSE").write_text("mine\n")
    commit(own_checkout)
    done = publish(own_checkout, release, "--dry-run")
    assert "finding[tag-differs]" in done.stderr


def test_version_without_a_tag_is_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    version = read_version(own_checkout / "kernel-src" / "Cargo.toml")
    run("git", "tag", "--delete", f"v{version}", cwd=own_checkout)
    done = publish(own_checkout, release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[tag-missing]" in done.stderr


def test_artifacts_that_a_second_build_gave_otherwise_are_refused(
    publish: Callable[..., Done], checkout: Path, own_release: Release
) -> None:
    sums = own_release.folder / "rebuilt.sums"
    sums.write_text(f"{'0' * 64}  {own_release.wheel.name}\n")
    done = publish(checkout, own_release, "--dry-run")
    assert done.returncode == REFUSED
    assert done.stderr.count("finding[rebuild-differs]") == 4, "the suite's files, too"


def test_release_without_a_second_build_is_refused(
    called_tools: BuildTools, index: PackageIndex, checkout: Path, release: Release
) -> None:
    options = ["--simple", f"{index.url}/simple", "--dist", str(release.folder), "--dry-run"]
    done = called_tools(checkout, "publish", "--index", f"{index.url}/legacy/", *options, check=False)
    assert done.returncode == REFUSED
    assert "finding[rebuild-missing]" in done.stderr


def test_changelog_without_the_version_is_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    (own_checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- something\n")
    done = publish(own_checkout, release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[changelog-heading]: the newest version is absent" in done.stderr
    assert "finding[changelog-unreleased]" in done.stderr


def test_earlier_release_that_verify_would_not_know_is_refused(
    publish: Callable[..., Done], own_checkout: Path, release: Release
) -> None:
    changelog = own_checkout / "CHANGELOG.md"
    changelog.write_text(changelog.read_text() + "\n## [0.9.0] - 2026-01-01\n")
    done = publish(own_checkout, release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[digests-not-recorded]: 0.9.0 was released" in done.stderr
