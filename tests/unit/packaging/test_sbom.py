from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from build_tools.base.errors import PythonEnvironmentError
from build_tools.release.sbom import check_sbom, make_sbom

INFO: dict[str, Any] = {
    "version": "1.0.0-rc.1",
    "abi_version": 2,
    "flavours": {"context": {"sha256": "a" * 64}, "core": {"sha256": "b" * 64}},
    "toolchain": {"origin": "rustup", "rustc": "1.95.0"},
}


def codes(data: bytes) -> list[str]:
    pytest.importorskip("cyclonedx", reason="`pip install cyclonedx-python-lib[json-validation]` installs it")
    return [finding.code for finding in check_sbom(data, INFO, where="sbom")]


def test_sbom_is_valid_and_the_same_each_time() -> None:
    assert make_sbom(INFO) == make_sbom(json.loads(json.dumps(INFO)))
    assert codes(make_sbom(INFO)) == []


def test_sbom_of_a_kernel_from_elsewhere_names_no_compiler() -> None:
    document = json.loads(make_sbom(INFO | {"toolchain": {"origin": "prebuilt"}}))
    assert not [part for part in document["components"] if part["name"] == "core"]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b'{"bomFormat": "SPDX"}'])
def test_document_of_another_form_is_invalid(data: bytes) -> None:
    assert codes(data) == ["sbom-invalid"]


def test_sbom_of_another_version_differs() -> None:
    other = make_sbom(INFO | {"version": "1.0.0"})
    assert set(codes(other)) == {"sbom-differs"}


def test_sbom_that_cannot_be_checked_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx.schema", None)
    with pytest.raises(PythonEnvironmentError, match="cannot be checked"):
        list(check_sbom(make_sbom(INFO), INFO, where="sbom"))
