"""What lies in and beside the wheel is accepted by the tools that read it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from pypi_attestations import Attestation, AttestationType, Distribution

from build_tools.base.archive import parse_tar_gz, parse_zip
from build_tools.base.cache import find_cache
from build_tools.base.project import Project
from build_tools.ecosystems.identity import read_identity
from build_tools.kernel import pipeline
from build_tools.kernel.abi import read_abi
from build_tools.release.readme import absolute_links
from tests.integration.packaging.support import digest, find_only, run

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
    hashes = {
        part["bom-ref"]: part["hashes"][0]["content"] for part in sbom["components"] if "hashes" in part
    }
    for name in ("extism-runtime.wasm", "extism-runtime-core.wasm"):
        assert hashes[f"extism_kernel_pkg/{name}"] == digest(kernel / name)
    assert "timestamp" not in sbom["metadata"]
    assert sbom["serialNumber"].startswith("urn:uuid:")


def test_sbom_names_every_file_of_the_package_by_digest(release: Release) -> None:
    """All but the kernel's facts, which name the modules as the SBOM does."""
    sbom = json.loads(read_sbom(release.wheel))
    named = {part["bom-ref"]: part["hashes"][0]["content"] for part in sbom["components"] if "hashes" in part}
    with zipfile.ZipFile(release.wheel) as archive:
        inside = [name for name in archive.namelist() if name.startswith("extism_kernel_pkg/")]
        found = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in inside}
    del found["extism_kernel_pkg/kernel_info.json"]
    assert named == found


def test_addresses_in_the_records_are_the_projects(release: Release, checkout: Path) -> None:
    identity = read_identity(checkout / "pyproject.toml")
    sbom = json.loads(read_sbom(release.wheel))
    assert sbom["metadata"]["component"]["purl"].startswith("pkg:pypi/extism-kernel@")
    references = sbom["metadata"]["component"]["externalReferences"]
    assert {"type": "vcs", "url": identity.repository} in references
    statement = json.loads((release.folder / "provenance.intoto.json").read_bytes())
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["source"]["repository"] == identity.repository


@pytest.mark.usefixtures("kernel")  # skips where there is no compiler
def test_no_function_of_rusts_library_is_in_the_module(checkout: Path, tmp_path: Path) -> None:
    """What the SBOM says of `core` is about what was inlined: every function left is the kernel's own."""
    request = pipeline.Request(project=Project(checkout), cache=find_cache(), out=tmp_path)
    raw = pipeline._compile(request, read_abi(request.project.abi_toml)).data
    names = re.findall(rb"_ZN(\d+[a-z_]+)|_R[A-Za-z]+(\d+[a-z_]+)", raw)
    crates = {(legacy or current).decode() for legacy, current in names}
    assert crates == {"13extism_kernel"}


def test_provenance_names_the_lock_and_the_digests_that_it_allows(release: Release, checkout: Path) -> None:
    statement = json.loads((release.folder / "provenance.intoto.json").read_bytes())
    materials = {
        entry["name"]: entry for entry in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    lock = checkout / "build_tools" / "requirements" / "build-system.txt"
    assert materials["build requirements"]["digest"]["sha256"] == digest(lock)
    allowed = set(materials["scikit-build-core"]["annotations"]["allowedSha256"])
    assert allowed
    assert {f"sha256:{each}" for each in allowed} <= set(lock.read_text().replace("=", " ").split())


def test_provenance_names_every_artifact_and_the_commit(
    release: Release, kernel: Path, checkout: Path
) -> None:
    statement = json.loads((release.folder / "provenance.intoto.json").read_bytes())
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    files = [
        *release.folder.glob("*.whl"),
        *release.folder.glob("*.tar.gz"),
        kernel / "extism-runtime.wasm",
        kernel / "extism-runtime-core.wasm",
    ]
    assert subjects == {path.name: digest(path) for path in files}
    materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    commit = run("git", "rev-parse", "HEAD", cwd=checkout).stdout.strip()
    source = next(entry for entry in materials if entry["name"] == "source")
    assert source["digest"] == {"gitCommit": commit}
    assert source["uri"].startswith("git+https://")
    assert source["uri"].endswith(f"@{commit}")
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


def artifacts(release: Release) -> list[Path]:
    return [*release.folder.glob("*.whl"), *release.folder.glob("*.tar.gz")]


def test_artifacts_pass_twine_check(release: Release) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *artifacts(release), cwd=release.folder)


def test_wheel_passes_check_wheel_contents(release: Release, checkout: Path) -> None:
    run(sys.executable, "-m", "check_wheel_contents", release.wheel, cwd=checkout)


def test_suites_wheel_passes_check_wheel_contents(release: Release) -> None:
    wheel = find_only(release.folder, "extism_kernel_conformance-*.whl")
    # Its data has adapters in folders that nobody imports, and the licence that stands there, too.
    run(sys.executable, "-m", "check_wheel_contents", "--ignore", "W002,W004", wheel, cwd=release.folder)


def test_sdists_are_friendly_by_pyroma(release: Release) -> None:
    """All it may miss is an address to write to, which the project does not have."""
    for sdist in release.folder.glob("*.tar.gz"):
        done = run(sys.executable, "-m", "pyroma", "--file", sdist, cwd=release.folder, check=False)
        said = done.stdout + done.stderr
        complaints = [line for line in said.splitlines() if line.endswith(".") and not line.endswith("...")]
        assert [line for line in complaints if "author-email" not in line] == [], said
        assert "Final rating: 9/10" in said or "Final rating: 8/10" in said, said


def test_links_of_the_descriptions_are_absolute(release: Release) -> None:
    for path in artifacts(release):
        members = (parse_zip if path.suffix == ".whl" else parse_tar_gz)(path.read_bytes(), path.name)
        (metadata,) = [
            member.data.decode()
            for member in members
            if member.name.count("/") == 1 and member.name.endswith(("/METADATA", "/PKG-INFO"))
        ]
        description = metadata.partition("\n\n")[2]
        assert len(description) > 1000
        assert absolute_links(description, "https://github.com/x/y/blob/z") == description


@pytest.mark.parametrize("name", ["pyproject.toml", "tests/conformance/pyproject.toml"])
def test_pyproject_is_valid(name: str, checkout: Path) -> None:
    run(sys.executable, "-m", "validate_pyproject", name, cwd=checkout)
