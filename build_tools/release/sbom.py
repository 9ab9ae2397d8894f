"""The CycloneDX 1.6 SBOM of one wheel: what is in it, by digest, and what that was made from.

Outside the kernel contract. The document holds no time and no random number (its serial number is a uuid5
of the package's purl), so that equal wheels hold equal SBOMs. PEP 770 says where it lies in a wheel.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import PythonEnvironmentError
from build_tools.base.files import read_digest, sha256_of
from build_tools.base.findings import Finding
from build_tools.ecosystems.identity import GITHUB
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from build_tools.kernel.version import to_pep440
from build_tools.release.wheelfile import DATA_SUFFIXES, PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from build_tools.base.archive import Member
    from build_tools.ecosystems.identity import Identity

__all__ = ["SBOM_FILENAME", "check_sbom", "make_sbom", "member_digests", "package_files", "package_purl"]

SBOM_FILENAME = "extism-kernel.cdx.json"
LICENSE_ID = "BSD-3-Clause"
RUST_LICENSE = "MIT OR Apache-2.0"
RUST_CORE = "pkg:github/rust-lang/rust#library/core"
PACKAGE_SUFFIXES = frozenset(DATA_SUFFIXES) - {".wasm"}

Json = dict[str, Any]


def package_purl(version: str) -> str:
    """Return the package URL of the Python distribution, for instance `pkg:pypi/extism-kernel@1.0.0rc1`."""
    return f"pkg:pypi/extism-kernel@{to_pep440(version)}"


def source_purl(version: str, repository: str) -> str:
    """Return the package URL of the crate's sources: no registry has it, the tag of the release does."""
    return f"pkg:github/{repository.removeprefix(GITHUB).lower()}@v{version}#kernel-src"


def serial_number(version: str) -> str:
    """Return the SBOM's serial number, which depends on the version alone."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, package_purl(version))}"


def package_files(folder: Path) -> dict[str, str]:
    """Return the digests of what the package holds beside the kernel, by path inside the wheel."""
    staged = {INFO_FILENAME, *FILENAMES.values()}
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": read_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in PACKAGE_SUFFIXES and path.name not in staged
    }


def member_digests(members: Iterable[Member]) -> dict[str, str]:
    """Return the same of the members of a wheel."""
    staged = {f"{PACKAGE}/{name}" for name in (INFO_FILENAME, *FILENAMES.values())}
    return {
        member.name: sha256_of(member.data)
        for member in members
        if member.name.startswith(f"{PACKAGE}/") and member.name not in staged
    }


def make_sbom(info: Mapping[str, Any], package: Mapping[str, str], identity: Identity) -> bytes:
    """Return the SBOM of a wheel, as JSON text ending in a newline.

    `info` describes the kernel in it, `package` has the digests of the other files by their path.
    """
    version = info["version"]
    purl = package_purl(version)
    source = source_purl(version, identity.repository)
    modules = [_module_component(info, flavour, name) for flavour, name in FILENAMES.items()]
    python = [_file(name, digest, LICENSE_ID) for name, digest in sorted(package.items())]
    core = _core_component(info)
    references = [
        {"type": "vcs", "url": identity.repository},
        {"type": "website", "url": identity.homepage},
        {"type": "issue-tracker", "url": identity.issues},
    ]
    document: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(version),
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {
                **_library(purl, "extism-kernel", to_pep440(version), {"license": {"id": LICENSE_ID}}),
                "authors": [{"name": identity.author}],
                "description": "The Extism kernel as WebAssembly modules, read through importlib.resources.",
                "externalReferences": references,
            },
        },
        "components": [
            *modules,
            *python,
            {
                **_library(source, "extism-kernel", version, {"license": {"id": LICENSE_ID}}),
                "externalReferences": references,
                "properties": [{"name": "extism-kernel:source-sha256", "value": info["source_sha256"]}],
            },
            core,
        ],
        "dependencies": [
            {"ref": purl, "dependsOn": [part["bom-ref"] for part in (*modules, *python)]},
            *({"ref": module["bom-ref"], "dependsOn": [source, core["bom-ref"]]} for module in modules),
            *({"ref": part["bom-ref"]} for part in python),
            {"ref": source, "dependsOn": [core["bom-ref"]]},
            {"ref": core["bom-ref"]},
        ],
        "compositions": [{"aggregate": "complete", "assemblies": [purl], "dependencies": [purl, source]}],
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def check_sbom(data: bytes, expected: bytes, *, where: str) -> Iterator[Finding]:
    """Yield a finding for each way in which an SBOM is not valid or not the expected one.

    Raises PythonEnvironmentError without the schema validator: a check that cannot run is no pass.
    """
    problem = _schema_problem(data)
    if problem is not None:
        yield Finding(code="sbom-invalid", where=where, message=f"not valid CycloneDX 1.6: {problem}")
        return
    found: Json = json.loads(data)
    want: Json = json.loads(expected)
    for key in sorted(found.keys() | want.keys()):
        if found.get(key) != want.get(key):
            message = f"`{key}` is not what this wheel's SBOM says"
            yield Finding(code="sbom-differs", where=where, message=message)


def _schema_problem(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
        json.loads(text)
    except ValueError:
        return "not JSON in UTF-8"
    try:
        from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - a release tool, absent in plain builds
        from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - the same

        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except ImportError as missing:
        raise PythonEnvironmentError(
            f"the SBOM cannot be checked: {missing}",
            hint="python -m pip install -r build_tools/requirements/dev.txt",
        ) from None
    return None if error is None else str(error).splitlines()[0]


def _library(ref: str, name: str, version: str, license_: Json) -> Json:
    return {
        "type": "library",
        "bom-ref": ref,
        "name": name,
        "version": version,
        "purl": ref,
        "licenses": [license_],
    }


def _file(name: str, sha256: str, licence: str) -> Json:
    return {
        "type": "file",
        "bom-ref": name,
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "licenses": [{"license": {"id": licence}}],
    }


def _module_component(info: Mapping[str, Any], flavour: str, filename: str) -> Json:
    module = info["flavours"][flavour]
    return {
        **_file(f"{PACKAGE}/{filename}", module["sha256"], LICENSE_ID),
        # `core` has no function of its own in the module, but what was inlined of it is there.
        "licenses": [{"expression": f"{LICENSE_ID} AND ({RUST_LICENSE})"}],
        "mime-type": "application/wasm",
        "version": info["version"],
        "properties": [
            {"name": "extism-kernel:abi-version", "value": str(info["abi_version"])},
            {"name": "extism-kernel:flavour", "value": flavour},
        ],
    }


def _core_component(info: Mapping[str, Any]) -> Json:
    """Return the part of Rust that is compiled into the module; a prebuilt one does not tell its version."""
    version = info["toolchain"].get("rustc")
    purl = f"pkg:github/rust-lang/rust@{version}#library/core" if version else RUST_CORE
    component = _library(purl, "core", version or "", {"expression": RUST_LICENSE})
    if not version:
        del component["version"]
    return component
