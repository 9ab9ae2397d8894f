"""What lies in and beside the wheel is accepted by the tools that read it."""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from pypi_attestations import Attestation, AttestationType, Distribution

from tests.integration.packaging.support import digest, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.packaging.support import Release

pytestmark = pytest.mark.slow


def read_sbom(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        return archive.read(name).decode()


def test_sbom_is_strictly_valid_cyclonedx(release: Release) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(read_sbom(release.wheel)) is None


def test_sbom_names_the_modules_by_digest_and_holds_no_time(release: Release, kernel: Path) -> None:
    sbom = json.loads(read_sbom(release.wheel))
    hashes = {part["name"]: part["hashes"][0]["content"] for part in sbom["components"] if "hashes" in part}
    assert hashes == {
        name: digest(kernel / name) for name in ("extism-runtime.wasm", "extism-runtime-core.wasm")
    }
    assert "timestamp" not in sbom["metadata"]
    assert sbom["serialNumber"].startswith("urn:uuid:")


def test_provenance_names_every_artifact_and_the_commit(
    release: Release, kernel: Path, checkout: Path
) -> None:
    statement = json.loads((release.folder / "provenance.intoto.json").read_bytes())
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    files = [
        release.wheel,
        release.sdist,
        kernel / "extism-runtime.wasm",
        kernel / "extism-runtime-core.wasm",
    ]
    assert subjects == {path.name: digest(path) for path in files}
    materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    commit = run("git", "rev-parse", "HEAD", cwd=checkout).stdout.strip()
    assert {"name": "source", "digest": {"gitCommit": commit}} in materials
    assert any(entry.get("uri", "").startswith("pkg:pypi/scikit-build-core@") for entry in materials)


def test_provenance_is_parsed_as_an_attestation(release: Release) -> None:
    invented = base64.b64encode(b"invented").decode()
    statement = (release.folder / "provenance.intoto.json").read_bytes()
    attestation = Attestation.model_validate(
        {
            "version": 1,
            "verification_material": {"certificate": invented, "transparency_entries": [{"logIndex": "1"}]},
            "envelope": {"statement": base64.b64encode(statement).decode(), "signature": invented},
        }
    )
    assert attestation.statement["predicateType"] == AttestationType.SLSA_PROVENANCE_V1.value
    wheel = Distribution.from_file(release.wheel)
    named = {subject["name"]: subject["digest"]["sha256"] for subject in attestation.statement["subject"]}
    assert named[wheel.name] == wheel.digest


def test_wheel_and_sdist_pass_twine_check(release: Release) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", release.wheel, release.sdist, cwd=release.folder)


def test_wheel_passes_check_wheel_contents(release: Release) -> None:
    run(sys.executable, "-m", "check_wheel_contents", release.wheel, cwd=release.folder)


def test_pyproject_is_valid(checkout: Path) -> None:
    run(sys.executable, "-m", "validate_pyproject", "pyproject.toml", cwd=checkout)
