"""The CycloneDX 1.6 SBOM of one kernel: what is in the wheel, by digest, and what it was made from.

Outside the kernel contract. The document holds no time and no random number (its serial number is a uuid5
of the package's purl), so that equal wheels hold equal SBOMs. PEP 770 says where it lies in a wheel.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import PythonEnvironmentError
from build_tools.base.findings import Finding
from build_tools.kernel.values import FILENAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SBOM_FILENAME", "check_sbom", "make_sbom", "package_purl"]

SBOM_FILENAME = "extism-kernel.cdx.json"
LICENSE_ID = "BSD-3-Clause"
RUST_LICENSE = "MIT OR Apache-2.0"

Json = dict[str, Any]


def package_purl(version: str, ecosystem: str = "pypi") -> str:
    """Return the package URL of this release, for instance `pkg:pypi/extism-kernel@1.0.0`."""
    return f"pkg:{ecosystem}/extism-kernel@{version}"


def serial_number(version: str) -> str:
    """Return the SBOM's serial number, which depends on the version alone."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, package_purl(version))}"


def make_sbom(info: Mapping[str, Any]) -> bytes:
    """Return the SBOM of the kernel that a kernel info describes, as JSON text ending in a newline."""
    version = info["version"]
    purl = package_purl(version)
    crate = package_purl(version, "cargo")
    modules = [_module_component(info, flavour, name) for flavour, name in FILENAMES.items()]
    rust = _rust_components(info)
    made_from = [crate, *(part["bom-ref"] for part in rust)]
    document: Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(version),
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {
                **_library(purl, "extism-kernel", version, {"license": {"id": LICENSE_ID}}),
                "description": "The Extism kernel as WebAssembly modules, read through importlib.resources.",
            },
        },
        "components": [
            *modules,
            _library(crate, "extism-kernel", version, {"license": {"id": LICENSE_ID}}),
            *rust,
        ],
        "dependencies": [
            {"ref": purl, "dependsOn": [module["bom-ref"] for module in modules]},
            *({"ref": module["bom-ref"], "dependsOn": made_from} for module in modules),
            {"ref": crate, "dependsOn": made_from[1:]},
            *({"ref": part["bom-ref"]} for part in rust),
        ],
        "compositions": [{"aggregate": "complete", "assemblies": [purl], "dependencies": [purl, crate]}],
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def check_sbom(data: bytes, info: Mapping[str, Any], *, where: str) -> Iterator[Finding]:
    """Yield a finding for each way in which an SBOM is not valid or not this kernel's.

    Raises PythonEnvironmentError without the schema validator: a check that cannot run is no pass.
    """
    problem = _schema_problem(data)
    if problem is not None:
        yield Finding(code="sbom-invalid", where=where, message=f"not valid CycloneDX 1.6: {problem}")
        return
    found: Json = json.loads(data)
    want: Json = json.loads(make_sbom(info))
    for key in sorted(found.keys() | want.keys()):
        if found.get(key) != want.get(key):
            message = f"`{key}` is not what this kernel's SBOM says"
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


def _module_component(info: Mapping[str, Any], flavour: str, filename: str) -> Json:
    module = info["flavours"][flavour]
    return {
        "type": "file",
        "bom-ref": f"extism_kernel_pkg/{filename}",
        "mime-type": "application/wasm",
        "name": filename,
        "version": info["version"],
        "hashes": [{"alg": "SHA-256", "content": module["sha256"]}],
        "licenses": [{"license": {"id": LICENSE_ID}}],
        "properties": [
            {"name": "extism-kernel:abi-version", "value": str(info["abi_version"])},
            {"name": "extism-kernel:flavour", "value": flavour},
        ],
    }


def _rust_components(info: Mapping[str, Any]) -> list[Json]:
    """Return the part of Rust that is linked into the module: `core`; unknown for a prebuilt kernel."""
    version = info["toolchain"].get("rustc")
    if not version:
        return []
    ref = f"pkg:generic/rust-core@{version}"
    return [_library(ref, "core", version, {"expression": RUST_LICENSE})]
