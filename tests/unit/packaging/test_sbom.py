from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from build_tools.base.errors import PythonEnvironmentError
from build_tools.ecosystems.identity import Identity
from build_tools.release.sbom import check_sbom, make_sbom

INFO: dict[str, Any] = {
    "version": "1.0.0-rc.1",
    "abi_version": 2,
    "flavours": {"context": {"sha256": "a" * 64}, "core": {"sha256": "b" * 64}},
    "toolchain": {"origin": "rustup", "rustc": "1.95.0"},
    "source_sha256": "c" * 64,
}
PACKAGE = {"extism_kernel_pkg/__init__.py": "d" * 64}
IDENTITY = Identity(
    author="Somebody",
    homepage="https://example.org",
    repository="https://github.com/Owner/name",
    issues="https://github.com/Owner/name/issues",
)


def sbom(info: dict[str, Any] = INFO) -> bytes:
    return make_sbom(info, PACKAGE, IDENTITY)


def codes(data: bytes) -> list[str]:
    pytest.importorskip("cyclonedx", reason="`pip install cyclonedx-python-lib[json-validation]` installs it")
    return [finding.code for finding in check_sbom(data, sbom(), where="sbom")]


def test_sbom_is_valid_and_the_same_each_time() -> None:
    assert sbom() == sbom(json.loads(json.dumps(INFO)))
    assert codes(sbom()) == []


def parts(data: bytes) -> dict[str, dict[str, Any]]:
    return {part["bom-ref"]: part for part in json.loads(data)["components"]}


def test_sbom_of_a_kernel_from_elsewhere_names_rust_without_a_version() -> None:
    (core,) = [
        part
        for part in parts(sbom(INFO | {"toolchain": {"origin": "prebuilt"}})).values()
        if part["name"] == "core"
    ]
    assert "version" not in core
    assert core["licenses"] == [{"expression": "MIT OR Apache-2.0"}]


def test_sbom_names_each_part_by_an_address_that_leads_there() -> None:
    document = json.loads(sbom())
    assert document["metadata"]["component"]["purl"] == "pkg:pypi/extism-kernel@1.0.0rc1", "as PyPI spells it"
    refs = parts(sbom())
    source = refs["pkg:github/owner/name@v1.0.0-rc.1#kernel-src"]
    assert source["properties"] == [{"name": "extism-kernel:source-sha256", "value": "c" * 64}]
    assert {"type": "vcs", "url": IDENTITY.repository} in source["externalReferences"]
    assert refs["pkg:github/rust-lang/rust@1.95.0#library/core"]["version"] == "1.95.0"
    assert refs["extism_kernel_pkg/__init__.py"]["hashes"] == [{"alg": "SHA-256", "content": "d" * 64}]


def test_modules_carry_the_licence_of_what_rust_left_in_them() -> None:
    (licence,) = parts(sbom())["extism_kernel_pkg/extism-runtime.wasm"]["licenses"]
    assert licence == {"expression": "BSD-3-Clause AND (MIT OR Apache-2.0)"}


def test_every_reference_of_the_sbom_is_there() -> None:
    document = json.loads(sbom())
    known = {part["bom-ref"] for part in (*document["components"], document["metadata"]["component"])}
    named = {entry["ref"] for entry in document["dependencies"]}
    named |= {ref for entry in document["dependencies"] for ref in entry.get("dependsOn", [])}
    assert named == known


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b'{"bomFormat": "SPDX"}'])
def test_document_of_another_form_is_invalid(data: bytes) -> None:
    assert codes(data) == ["sbom-invalid"]


def test_sbom_of_another_version_differs() -> None:
    other = sbom(INFO | {"version": "1.0.0"})
    assert set(codes(other)) == {"sbom-differs"}


def test_sbom_that_cannot_be_checked_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx.schema", None)
    with pytest.raises(PythonEnvironmentError, match="cannot be checked"):
        list(check_sbom(sbom(), sbom(), where="sbom"))
