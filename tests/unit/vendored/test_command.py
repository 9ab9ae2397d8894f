"""The command line of `extism-kernel`: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from build_tools.kernel.values import FILENAMES, Flavour
from extism_kernel_pkg import command, kernel_bytes, kernel_info
from tests.unit.vendored.support import kernel

pytestmark = pytest.mark.usefixtures("staged")
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
COUNT = {"type": "integer", "minimum": 0}
LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "additionalProperties": False,
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[!-~]+$"}},
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["byteOffset", "byteLength"],
                    "properties": {"byteOffset": COUNT, "byteLength": COUNT},
                },
            },
        },
        "logicalLocations": {"type": "array", "items": {"required": ["fullyQualifiedName"]}},
    },
}
RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "shortDescription": TEXT,
        "defaultConfiguration": {"required": ["level"], "properties": {"level": LEVEL}},
    },
}
# What SARIF 2.1.0 and GitHub's code scanning ask of a log, as far as ours has such objects.
SARIF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                                    "notifications": {"type": "array", "items": RULE},
                                },
                            }
                        },
                    },
                    "invocations": {"type": "array", "items": {"required": ["executionSuccessful"]}},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["ruleId", "message", "locations"],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "level": LEVEL,
                                "message": TEXT,
                                "locations": {"type": "array", "minItems": 1, "items": LOCATION},
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    },
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def staged() -> None:
    if not (Path(command.__file__).parent / FILENAMES["core"]).is_file():
        pytest.skip("no kernel is staged; run `python -m build_tools kernel`")


def test_version_and_no_command(capsys: Capture) -> None:
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"extism-kernel {kernel_info().version} (ABI ")
    assert command.main([]) == command.USAGE_EXIT
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("flavour", FILENAMES)
def test_path_leads_to_the_bytes(flavour: Flavour, capsys: Capture) -> None:
    assert command.main(["path", "--flavour", flavour]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.read_bytes() == kernel_bytes(flavour)


def test_info_says_the_same_as_text_and_as_json(capsys: Capture) -> None:
    assert command.main(["info", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["version"] == kernel_info().version
    assert command.main(["info"]) == 0
    text = capsys.readouterr().out
    assert all(each["sha256"] in text for each in data["flavours"].values())


def test_export_writes_the_module_and_a_header(tmp_path: Path) -> None:
    module, header = tmp_path / "k.wasm", tmp_path / "k.h"
    assert command.main(["export", "--out", str(module)]) == 0
    assert command.main(["export", "--c-header", "--flavour", "core", "--out", str(header)]) == 0
    assert module.read_bytes() == kernel_bytes("context")
    text = header.read_text()
    numbers = text[text.index("{") + 1 : text.index("}")].replace("\n", "").replace(" ", "").strip(",")
    assert bytes(int(number, 16) for number in numbers.split(",")) == kernel_bytes("core")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.h", "k.wasm"]


@pytest.mark.parametrize(
    "argv",
    [
        ["export", "--out", "{}/no/k.wasm"],
        ["verify", "{}/missing"],
        ["verify", "{}", "--sarif", "{}/no/s.json"],
    ],
    ids=["export-into-nothing", "verify-nothing", "sarif-into-nothing"],
)
def test_what_cannot_be_done_is_one_line(argv: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert command.main([word.format(tmp_path) for word in argv]) == command.INPUT_EXIT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "argv", [["wat"], ["verify"], ["path", "--flavour", "x"], ["verify", ".", "--allow", "x"]]
)
def test_wrong_usage_is_2(argv: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(argv)
    assert ended.value.code == command.USAGE_EXIT
    assert "usage:" in capsys.readouterr().err


def test_verify_knows_its_own_kernel_and_allows_what_it_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.wasm").write_bytes(kernel_bytes("core"))
    assert command.main(["verify", str(tmp_path)]) == 0
    (tmp_path / "b.wasm").write_bytes(kernel())
    code = command.main(["verify", str(tmp_path), "--json"])
    out = capsys.readouterr().out
    data = json.loads(out[out.index("{") :])
    assert code == data["exit_code"] != 0
    assert len(data["kernels"]) == 2
    allowed = [each["answer"] for each in data["kernels"] if each["answer"] != "current"]
    assert command.main(["verify", str(tmp_path), "--allow", *allowed]) == 0


def test_sarif_is_as_the_standard_asks(tmp_path: Path) -> None:
    folder = tmp_path / "a folder ä"
    folder.mkdir()
    (folder / "\x1b[31m.wasm").write_bytes(kernel())
    (folder / "in.bin").write_bytes(b"\x7fELF" + bytes(range(256)) + kernel(extra='(func (export "x"))'))
    (folder / "cut.zip").write_bytes(b"PK\3\4" + bytes(100))
    log = tmp_path / "log.sarif"
    assert command.main(["verify", str(folder), "--sarif", str(log)]) != 0
    data = json.loads(log.read_bytes())
    jsonschema.validate(data, SARIF)
    (run,) = data["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} <= rules
    assert len(run["results"]) == 2
    assert run["invocations"][0]["executionSuccessful"] is False
    del run["results"][0]["message"]["text"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SARIF)
