"""A release is refused with its findings or goes up to a real index, whole or to be continued."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from pypi_attestations import Attestation, AttestationType

from build_tools.base.archive import Member, make_zip, parse_zip
from build_tools.base.files import sha256_of
from build_tools.base.project import Project
from build_tools.kernel.version import read_version
from build_tools.release.checks import check_release
from build_tools.release.distributions import read_distributions
from build_tools.release.proofs import check_against_tree
from build_tools.release.wheelfile import find_member, normalise_wheel
from tests.integration.packaging.package_index import PASSWORD, USER
from tests.integration.packaging.support import call_publish, commit, digest, new_venv, pip_of, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.packaging.support import BuildTools, Done, PackageIndex, Release

CREDENTIALS = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
REFUSED = 8

pytestmark = pytest.mark.slow


@pytest.fixture
def publish(index: PackageIndex, kernel: Path) -> Callable[..., Done]:
    """Publish a release from a checkout to the index."""
    if not json.loads((kernel / "kernel_info.json").read_bytes())["toolchain"]["is_release"]:
        pytest.skip("not the release toolchain, so publish refuses (fix it with `rustup toolchain install`)")

    def call(checkout: Path, release: Release, *options: str, **env: str) -> Done:
        arguments = ["--index", f"{index.url}/legacy/", "--simple", f"{index.url}/simple"]
        rebuilt = release.folder / "rebuilt.sums"
        if not rebuilt.exists():
            sums = [f"{digest(path)}  {path.name}\n" for path in release.folder.glob("extism_kernel*")]
            rebuilt.write_text("".join(sums))
        arguments += ["--rebuilt", str(rebuilt)]
        environ = CREDENTIALS | env
        done = call_publish(checkout, *arguments, "--dist", release.folder, *options, env=environ)
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return call


def rewrite(release: Release, change: Callable[[list[Member]], list[Member]]) -> None:
    """Change members of a release's wheel; RECORD is written anew."""
    members = change(parse_zip(release.wheel.read_bytes(), release.wheel.name))
    release.wheel.write_bytes(
        normalise_wheel(make_zip(members, epoch=0), release.wheel.name, epoch=0, links="")
    )


def replace(name: str, old: bytes, new: bytes) -> Callable[[list[Member]], list[Member]]:
    def change(members: list[Member]) -> list[Member]:
        assert any(member.name.endswith(name) and old in member.data for member in members)
        return [
            Member(
                name=member.name,
                data=member.data.replace(old, new) if member.name.endswith(name) else member.data,
            )
            for member in members
        ]

    return change


def test_release_goes_up_once_and_comes_back_with_the_same_kernel(
    publish: Callable[..., Done],
    index: PackageIndex,
    checkout: Path,
    release: Release,
    tmp_path: Path,
) -> None:
    names = sorted([release.wheel.name, release.sdist.name])
    tried = publish(checkout, release, "--dry-run", "--json")
    assert tried.returncode == 0, tried.stderr
    assert [each["outcome"] for each in json.loads(tried.stdout)] == ["would-upload", "would-upload"]
    assert index.names == []

    done = publish(checkout, release, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["outcome"] for each in json.loads(done.stdout)] == ["uploaded", "uploaded"]
    assert index.names == names

    again = publish(checkout, release)
    assert again.returncode == REFUSED
    assert "finding[version-exists]" in again.stderr
    assert index.names == names

    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        f"extism-kernel=={release.wheel.name.split('-')[1]} --hash=sha256:{digest(release.wheel)}\n"
    )
    python = new_venv(tmp_path / "venv")
    options = ["--require-hashes", "--index-url", f"{index.url}/simple", "-r", str(requirements)]
    run(*pip_of(python), "install", "-q", *options, cwd=tmp_path)
    code = "import extism_kernel_pkg; print(extism_kernel_pkg.KERNEL_SHA256)"
    installed = run(python, "-I", "-c", code, cwd=tmp_path).stdout.strip()
    members = parse_zip(release.wheel.read_bytes(), release.wheel.name)
    module = find_member(members, "extism_kernel_pkg/extism-runtime.wasm")
    assert module is not None
    assert installed == sha256_of(module.data)


def test_index_itself_refuses_a_file_twice(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, release: Release
) -> None:
    assert publish(checkout, release).returncode == 0
    arguments = ["--non-interactive", "--repository-url", f"{index.url}/legacy/", str(release.wheel)]
    done = run(
        sys.executable, "-m", "twine", "upload", *arguments, cwd=release.folder, check=False, env=CREDENTIALS
    )
    assert done.returncode != 0
    assert "400" in done.stdout + done.stderr


@pytest.mark.parametrize("api", ["json", "html"])
def test_publishing_goes_on_after_the_index_failed_midway(
    api: str, publish: Callable[..., Done], index: PackageIndex, checkout: Path, release: Release
) -> None:
    if api == "html":
        (index.folder / "html-only").touch()
    switch = index.folder / "refuse-after"
    switch.write_text("1")
    failed = publish(checkout, release)
    assert failed.returncode == 4
    assert "error[upload-failed]" in failed.stderr
    assert "the same command goes on" in failed.stderr
    assert index.names == [release.wheel.name], "what is there first needs no compiler"

    switch.unlink()
    done = publish(checkout, release, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["outcome"] for each in json.loads(done.stdout)] == ["present", "uploaded"]
    assert index.names == sorted([release.wheel.name, release.sdist.name])


def test_other_bytes_under_our_name_on_the_index_are_refused(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, release: Release
) -> None:
    # Not asked before the first upload; whoever was first wins, and we must say so.
    (index.folder / "files").mkdir(exist_ok=True)
    (index.folder / "files" / release.wheel.name).write_bytes(b"somebody else's")
    done = publish(checkout, release)
    assert done.returncode == REFUSED
    assert "finding[version-exists]" in done.stderr
    assert index.names == [release.wheel.name]


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
    build_tools: BuildTools, index: PackageIndex, checkout: Path, release: Release
) -> None:
    options = ["--simple", f"{index.url}/simple", "--dist", str(release.folder), "--dry-run"]
    done = build_tools(checkout, "publish", "--index", f"{index.url}/legacy/", *options, check=False)
    assert done.returncode == REFUSED
    assert "finding[rebuild-missing]" in done.stderr


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


def test_wrong_password_uploads_nothing_and_is_not_shown(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, release: Release
) -> None:
    wrong = "not-the-password-either"
    done = publish(checkout, release, TWINE_PASSWORD=wrong)
    assert done.returncode == 4
    assert "error[upload-failed]" in done.stderr
    assert wrong not in done.stdout + done.stderr
    assert index.names == []


def test_url_with_credentials_is_a_usage_error(build_tools: BuildTools, checkout: Path) -> None:
    done = build_tools(checkout, "publish", "--index", "https://me:secret@index.example/legacy/", check=False)
    assert done.returncode == 2
    assert "TWINE_PASSWORD" in done.stderr
    assert "secret" not in done.stderr


def test_index_that_does_not_answer_is_no_approval(
    build_tools: BuildTools, checkout: Path, release: Release
) -> None:
    arguments = ["publish", "--index", "http://127.0.0.1:9", "--dist", str(release.folder), "--dry-run"]
    done = build_tools(checkout, *arguments, check=False)
    assert done.returncode == 4
    assert "error[index-unreachable]" in done.stderr


def make_attestation(path: Path, name: str) -> None:
    """Write what a release job's signer would: PEP 740's envelope, here with an invented signature."""
    subject = {"name": name, "digest": {"sha256": digest(path)}}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": AttestationType.PYPI_PUBLISH_V1.value,
        "predicate": None,
    }
    invented = base64.b64encode(b"invented").decode()
    attestation = {
        "version": 1,
        "verification_material": {"certificate": invented, "transparency_entries": [{"logIndex": "1"}]},
        "envelope": {
            "statement": base64.b64encode(json.dumps(statement).encode()).decode(),
            "signature": invented,
        },
    }
    path.with_name(f"{path.name}.publish.attestation").write_text(json.dumps(attestation))


def test_attestations_go_up_with_their_files_and_are_served(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, own_release: Release
) -> None:
    for path in (own_release.wheel, own_release.sdist):
        make_attestation(path, path.name)
    done = publish(checkout, own_release, "--attestations")
    assert done.returncode == 0, done.stderr
    stored = json.loads((index.folder / f"{own_release.wheel.name}.attestations").read_bytes())
    (parsed,) = [Attestation.model_validate(each) for each in stored]
    assert parsed.statement["subject"][0]["digest"]["sha256"] == digest(own_release.wheel)


def test_missing_attestation_is_refused(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, own_release: Release
) -> None:
    done = publish(checkout, own_release, "--attestations")
    assert done.returncode == REFUSED
    assert "finding[attestation-missing]" in done.stderr
    assert index.names == []


def test_signing_without_an_identity_is_refused_at_once(
    build_tools: BuildTools, checkout: Path, release: Release
) -> None:
    if os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        pytest.skip("this job has an identity (fix it by running the test elsewhere)")
    done = build_tools(checkout, "attest", "--dist", release.folder, check=False)
    assert done.returncode == 2
    assert "no identity to sign with" in done.stderr
