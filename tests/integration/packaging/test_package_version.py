"""The version stands in Cargo.toml alone, and everything else that names one agrees with it."""

from __future__ import annotations

import re
import zipfile
from email.parser import BytesParser
from typing import TYPE_CHECKING

import pytest

from build_tools.base.project import find_project, read_toml
from build_tools.kernel.values import VERSION_SECTION
from build_tools.kernel.version import read_version, to_pep440
from build_tools.release.changelog import UNRELEASED, read_sections_of
from build_tools.release.prepare import BETWEEN
from extism_kernel_pkg._wasm import Module
from tests.integration.packaging.support import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.packaging.support import Release

pytestmark = pytest.mark.slow
PROJECT = find_project()
VERSION = read_version(PROJECT.cargo_toml)


def test_cargo_lock_has_the_version_of_cargo_toml() -> None:
    packages = read_toml(PROJECT.kernel_src / "Cargo.lock")["package"]
    assert [entry["version"] for entry in packages if entry["name"] == "extism-kernel"] == [VERSION]


def test_changelog_speaks_of_the_version_or_of_what_is_not_released_yet() -> None:
    sections = read_sections_of(PROJECT.root / "CHANGELOG.md")
    assert next(iter(sections)) in {UNRELEASED, VERSION}
    if UNRELEASED not in sections:
        assert not VERSION.endswith(BETWEEN)


def test_tag_on_this_commit_is_the_version() -> None:
    if not (PROJECT.root / ".git").exists():
        pytest.skip("not a git checkout (fix it with `git clone`)")
    tags = run("git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*", cwd=PROJECT.root).stdout.split()
    if not tags:
        pytest.skip(f"no version tag on this commit (a release has `git tag v{VERSION}`)")
    assert tags == [f"v{VERSION}"]


def test_stamped_sections_have_the_version(kernel: Path) -> None:
    for name in ("extism-runtime.wasm", "extism-runtime-core.wasm"):
        assert Module((kernel / name).read_bytes()).custom(VERSION_SECTION) == [VERSION.encode()]


def test_metadata_and_file_names_have_the_version(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        assert BytesParser().parsebytes(archive.read(name))["Version"] == to_pep440(VERSION)
    assert release.wheel.name == f"extism_kernel-{to_pep440(VERSION)}-py3-none-any.whl"
    assert release.sdist.name == f"extism_kernel-{to_pep440(VERSION)}.tar.gz"


def test_version_is_written_nowhere_else() -> None:
    """A second place would have to be kept in step by hand."""
    pyproject = (PROJECT.root / "pyproject.toml").read_text()
    table = re.search(r"^\[project\]\n(.*?)^\[", pyproject, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert not re.search(r"^version\b", table[1], re.MULTILINE)
    for path in PROJECT.package.glob("*.py"):
        assert f'"{VERSION}"' not in path.read_text(), path
