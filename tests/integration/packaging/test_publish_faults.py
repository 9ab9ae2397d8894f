"""A release that was changed is refused: what is in the wheel, and the records beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.archive import Member
from build_tools.base.files import sha256_of
from build_tools.base.project import Project
from build_tools.kernel.version import read_version
from build_tools.release.checks import check_release
from build_tools.release.distributions import read_distributions
from build_tools.release.proofs import check_against_tree
from build_tools.release.wheelfile import find_member
from tests.integration.packaging.publishing import REFUSED, replace, rewrite
from tests.integration.packaging.support import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.packaging.support import Done, PackageIndex, Release

pytestmark = pytest.mark.slow


def forge(release: Release, change: Callable[[list[Member]], list[Member]]) -> list[str]:
    """Change a wheel with all that speaks of it: RECORD, kernel_info.json, SHA256SUMS and the provenance."""
    old = digest(release.wheel)
    rewrite(release, change)
    new = digest(release.wheel)
    provenance = release.folder / "provenance.intoto.json"
    stale = digest(provenance)
    provenance.write_text(provenance.read_text().replace(old, new))
    sums = release.folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, new).replace(stale, digest(provenance)))
    return [old, new]


FORGERIES = {
    "module-and-info": "not-canonical",
    "python": "tree-differs",
    "python-left-out": "tree-differs",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_wheel_changed_together_with_its_records_is_refused(
    forgery: str, checkout: Path, own_release: Release
) -> None:
    project = Project(checkout)
    version = read_version(project.cargo_toml)

    def change(members: list[Member]) -> list[Member]:
        if forgery == "python-left-out":
            return [member for member in members if not member.name.endswith("/_pyinstaller/__init__.py")]
        if forgery == "python":
            return replace("extism_kernel_pkg/__init__.py", b"import", b"import  ")(members)
        module = find_member(members, "extism_kernel_pkg/extism-runtime-core.wasm")
        assert module is not None
        other = module.data + b"\0\x02\x01x"  # a custom section more
        info = replace("kernel_info.json", sha256_of(module.data).encode(), sha256_of(other).encode())
        return info(replace("extism-runtime-core.wasm", module.data, other)(members))

    forge(own_release, change)
    found = list(check_release(project, read_distributions(own_release.folder, version)))
    codes = {finding.code for finding in found}
    assert FORGERIES[forgery] in codes
    assert "digest-differs" not in codes, "the forged records agree"


def test_sdist_with_a_file_that_is_not_the_trees_is_found(own_checkout: Path, release: Release) -> None:
    project = Project(own_checkout)
    distributions = read_distributions(release.folder, read_version(project.cargo_toml))
    assert list(check_against_tree(project, distributions)) == []
    (own_checkout / "LICENSE").write_text("mine\n")
    (own_checkout / "README.md").unlink()
    found = [finding.message for finding in check_against_tree(project, distributions)]
    assert [message.split("/")[-1] for message in found] == [
        "LICENSE` is not what the tree has",
        "README.md` is not in the tree",
    ]


FAULTS: dict[str, tuple[str, Callable[[list[Member]], list[Member]]]] = {
    "altered-module": ("digest-differs", replace("extism-runtime.wasm", b"\0asm", b"\0asn")),
    "sbom-of-another-kernel": ("sbom-differs", replace(".cdx.json", b'"version": 1', b'"version": 2')),
    "sbom-not-cyclonedx": ("sbom-invalid", replace(".cdx.json", b'"bomFormat"', b'"bonFormat"')),
    "stray-file": (
        "wheel-member-unexpected",
        lambda members: [*members, Member(name="build_tools/cli/main.py", data=b"")],
    ),
    "no-type-marker": (
        "wheel-member-missing",
        lambda members: [member for member in members if not member.name.endswith("py.typed")],
    ),
    "let-through-finding": (
        "kernel-unfit",
        replace("kernel_info.json", b'"exports":', b'"allowed_findings": ["size-budget"], "exports":'),
    ),
    "other-toolchain": (
        "toolchain-not-release",
        replace("kernel_info.json", b'"is_release": true', b'"is_release": false'),
    ),
    "platform-tag": ("wheel-tag-unexpected", replace("/WHEEL", b"py3-none-any", b"py3-none-linux_x86_64")),
    "bad-metadata": ("metadata-invalid", replace("/METADATA", b"Name: extism-kernel", b"Nam: extism-kernel")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_wheel_is_found(fault: str, checkout: Path, own_release: Release) -> None:
    code, change = FAULTS[fault]
    project = Project(checkout)
    version = read_version(project.cargo_toml)
    rewrite(own_release, change)
    found = list(check_release(project, read_distributions(own_release.folder, version)))
    assert code in {finding.code for finding in found}
    recorded = [finding for finding in found if finding.code == "digest-differs"]
    assert recorded, "what is recorded beside the wheel differs too"


def test_faulty_wheel_is_refused_and_not_uploaded(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, own_release: Release
) -> None:
    rewrite(own_release, FAULTS["stray-file"][1])
    done = publish(checkout, own_release)
    assert done.returncode == REFUSED
    assert "finding[wheel-member-unexpected]" in done.stderr
    assert index.names == []


def test_wheel_without_a_sound_kernel_info_is_malformed_input(
    publish: Callable[..., Done], checkout: Path, own_release: Release
) -> None:
    rewrite(own_release, replace("kernel_info.json", b'"toolchain"', b'"toolbox"'))
    done = publish(checkout, own_release, "--dry-run")
    assert done.returncode == 5
    assert "error[archive-malformed]" in done.stderr


@pytest.mark.parametrize("name", ["SHA256SUMS", "provenance.intoto.json"])
def test_release_without_its_records_is_refused(
    name: str, publish: Callable[..., Done], checkout: Path, own_release: Release
) -> None:
    (own_release.folder / name).unlink()
    done = publish(checkout, own_release, "--dry-run")
    assert done.returncode == REFUSED
    assert "finding[record-missing]" in done.stderr
