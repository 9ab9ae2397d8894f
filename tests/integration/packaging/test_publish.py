"""A release goes up to a real index, whole or to be continued."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from pypi_attestations import Attestation, AttestationType

from build_tools.base.archive import parse_zip
from build_tools.base.files import sha256_of
from build_tools.release.wheelfile import find_member
from tests.integration.packaging.publishing import CREDENTIALS, REFUSED
from tests.integration.packaging.support import digest, new_venv, pip_of, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.packaging.support import BuildTools, Done, PackageIndex, Release

pytestmark = pytest.mark.slow


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


def test_wrong_password_uploads_nothing_and_is_not_shown(
    publish: Callable[..., Done], index: PackageIndex, checkout: Path, release: Release
) -> None:
    wrong = "not-the-password-either"
    done = publish(checkout, release, TWINE_PASSWORD=wrong)
    assert done.returncode == 4
    assert "error[upload-failed]" in done.stderr
    assert wrong not in done.stdout + done.stderr
    assert index.names == []


def test_url_with_credentials_is_a_usage_error(called_tools: BuildTools, checkout: Path) -> None:
    done = called_tools(
        checkout, "publish", "--index", "https://me:secret@index.example/legacy/", check=False
    )
    assert done.returncode == 2
    assert "TWINE_PASSWORD" in done.stderr
    assert "secret" not in done.stderr


def test_index_that_does_not_answer_is_no_approval(
    called_tools: BuildTools, checkout: Path, release: Release
) -> None:
    arguments = ["publish", "--index", "http://127.0.0.1:9", "--dist", str(release.folder), "--dry-run"]
    done = called_tools(checkout, *arguments, check=False)
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
    called_tools: BuildTools, checkout: Path, release: Release
) -> None:
    if os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        pytest.skip("this job has an identity (fix it by running the test elsewhere)")
    done = called_tools(checkout, "attest", "--dist", release.folder, check=False)
    assert done.returncode == 2
    assert "no identity to sign with" in done.stderr
