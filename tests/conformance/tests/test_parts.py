"""The parts by themselves: expressions, module reader, schema validator, version ranges, the process."""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import signal
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import wasmtime
from extism_kernel_conformance.adapter.process import AdapterCrash, AdapterProcess, AdapterTimeout
from extism_kernel_conformance.adapter.versions import is_in_range
from extism_kernel_conformance.base.errors import KernelMalformedError
from extism_kernel_conformance.base.schema import compile_schema, load_check
from extism_kernel_conformance.cases.expressions import parse_expression
from extism_kernel_conformance.wasm.module import limit_memory, parse_kernel

from .conftest import SUITE

VALUES = {"a": 1000, "i": 2, "h[2]": 64, "h[3]": 72}

EXPRESSIONS = {
    "7": 7,
    "0x10": 16,
    "007": 7,
    "$a": 1000,
    "$a+8": 1008,
    "$a + 8 * 2": 1016,
    "2*$a-1": 1999,
    "0-1": 2**64 - 1,
    "$a-1001": 2**64 - 1,
    "18446744073709551615+2": 1,
    "$h[2]": 64,
    "$h[$i]+$h[$i+1]": 136,
    "1-2-3": 2**64 - 4,
    "2*3*4+1": 25,
}


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS.items())
def test_expression_wraps_at_64_bits(text: str, value: int) -> None:
    assert parse_expression(text).evaluate(VALUES.__getitem__) == value


def test_memory_limit_changes_the_memory_section_only() -> None:
    wat = '(module (memory (export "memory") 2) (func (export "f") (result i32) (memory.size)))'
    kernel = parse_kernel(bytes(wasmtime.wat2wasm(wat)))
    limited = parse_kernel(limit_memory(kernel, 300))
    assert (limited.initial_pages, limited.maximum_pages) == (2, 300)
    wasmtime.Module.validate(wasmtime.Engine(), limited.data)
    expected = bytes(wasmtime.wat2wasm(wat.replace(") 2)", ") 2 300)")))
    assert limited.data == expected
    with pytest.raises(ValueError, match="starts with 2 pages, the limit is 1"):
        limit_memory(kernel, 1)


def test_module_reader_agrees_with_the_engine() -> None:
    wat = """(module (import "a" "b" (func (param f32))) (import "a" "g" (global i64))
      (import "c" "t" (table 1 funcref)) (memory 1 4) (memory (export "second") 2)
      (global $g (mut externref) (ref.null extern)) (global i64 (i64.const -5))
      (func (param i32 i64) (result f64) (f64.const 1)) (func $start) (start $start)
      (export "g" (global $g)) (export "f" (func 1)) (export "i" (func 0)) (table (export "t") 1 funcref))"""
    kernel = parse_kernel(bytes(wasmtime.wat2wasm(wat)))
    assert kernel.imports == ("a.b", "a.g", "c.t")
    assert kernel.exports == {
        "second": "memory",
        "g": "global mut externref",
        "f": "(i32, i64) -> f64",
        "i": "(f32) -> ()",
        "t": "table",
    }
    assert (kernel.initial_pages, kernel.maximum_pages, kernel.memories, kernel.has_start) == (1, 4, 2, True)
    assert kernel.flavour == "core"


def test_module_cut_anywhere_is_refused_or_read() -> None:
    data = bytes.fromhex((SUITE / "lint" / "operations.hex").read_text().strip())
    flipped = [data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :] for at in range(8, len(data))]
    refused = 0
    for broken in [data[:length] for length in range(len(data))] + flipped:
        with contextlib.suppress(KernelMalformedError):  # any other error is a traceback for somebody
            parse_kernel(broken)
            continue
        refused += 1
    assert refused > len(data)


ANSWERS = [
    {"id": 1, "result": "ok", "values": ["i64:1", "externref:null", "f32:00000000"]},
    {"id": 1, "result": "ok", "values": [], "used": "77"},
    {"id": 1, "result": "trap", "kind": "fuel", "message": ""},
    {"id": 1, "result": "ok", "bytes": "00ff"},
    {"id": 1, "result": "reject", "stage": "link", "message": "no"},
    {"id": 1, "result": "ok"},
    {"id": 1, "result": "ok", "pages": -1},
    {"id": 1, "result": "ok", "value": "i32:7"},
    {"id": 1, "result": "ok", "exports": [{"name": "a", "kind": "func"}]},
    {"id": 1, "result": "unsupported"},
    {"id": 1, "result": "error", "message": "x"},
    {"id": 1, "result": "ok", "protocol": 1, "adapter": "a", "runtime": "b", "version": "c",
     "capabilities": ["fuel"]},
]  # fmt: skip
CHANGES = [
    ("id", -1), ("id", "1"), ("id", True), ("result", "fine"), ("values", "i64:1"), ("values", ["i64:01"]),
    ("values", ["i64:-1"]), ("used", 77), ("used", "-1"), ("bytes", "0"), ("bytes", "FF"), ("stage", "parse"),
    ("pages", 65537), ("pages", 1.5), ("pages", True), ("exports", [{"name": "a"}]), ("more", 1),
    ("capabilities", ["simd"]), ("protocol", 2), ("protocol", True), ("kind", None),
]  # fmt: skip


def test_own_validator_agrees_with_jsonschema() -> None:
    document = json.loads((SUITE / "schema" / "protocol.schema.json").read_text(encoding="utf-8"))
    definitions = [name for name in document["$defs"] if name.startswith("answer-")] + [
        "unsupported",
        "error",
    ]
    samples: list[object] = [*ANSWERS, [], None, "ok", {}]
    for answer in ANSWERS:
        samples += [{**answer, key: value} for key, value in CHANGES]
        samples += [
            {key: copy.copy(value) for key, value in answer.items() if key != gone} for gone in answer
        ]
    verdicts = set()
    for name in definitions:
        theirs = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": document["$defs"]})
        ours = load_check("protocol.schema.json", name)
        for sample in samples:
            is_valid = not list(ours(sample, ""))
            assert is_valid == theirs.is_valid(sample), (name, sample)
            verdicts.add(is_valid)
    assert verdicts == {True, False}


@pytest.mark.parametrize("path", sorted((SUITE / "schema").glob("*.json")), ids=lambda path: path.stem)
def test_schema_is_one_and_uses_known_keywords_only(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    compile_schema(document, document)
    for definition in document.get("$defs", {}).values():
        compile_schema(definition, document)


def test_unknown_schema_keyword_is_an_error() -> None:
    with pytest.raises(ValueError, match="`uniqueItems` is not supported"):
        compile_schema({"uniqueItems": True}, {})


RANGES = [
    ("1.2.3", ">=1.2", True), ("1.2.3", ">=1.2,<1.3", True), ("1.10", ">=1.9", True), ("2", "<2", False),
    ("v20.1", ">=18", True), ("1.0", "==1.0.0", True), ("1.0.1", "!=1.0", True), ("1.0-rc1", "<=1", True),
]  # fmt: skip


@pytest.mark.parametrize(("version", "wanted", "is_inside"), RANGES)
def test_version_range_compares_numbers(version: str, wanted: str, *, is_inside: bool) -> None:
    assert is_in_range(version, wanted) == is_inside


def test_adapter_that_reads_nothing_cannot_stop_the_runner() -> None:
    process = AdapterProcess([sys.executable, "-c", "import time; time.sleep(3600)"])
    started = time.monotonic()
    for _ in range(100):
        process.send(b"x" * 100_000 + b"\n")  # far more than a pipe holds
    with pytest.raises(AdapterTimeout):
        process.receive(0.2)
    process.kill()
    assert time.monotonic() - started < 15


def test_process_that_ended_says_how() -> None:
    process = AdapterProcess([sys.executable, "-c", "import sys; sys.exit('no license')"])
    with pytest.raises(AdapterCrash, match="exit code 1; it said: no license"):
        process.receive(30)
    process.kill()


LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session={apart})
print(child.pid, flush=True)
sys.exit(3)
"""


@pytest.mark.skipif(os.name != "posix", reason="there are process groups on POSIX only")
@pytest.mark.parametrize("apart", [False, True], ids=["in-the-group", "in-a-group-of-its-own"])
def test_child_that_outlives_the_adapter_cannot_stop_the_runner(*, apart: bool) -> None:
    process = AdapterProcess([sys.executable, "-c", LEAVES_A_CHILD.format(apart=apart)])
    child = int(process.receive(30))
    started = time.monotonic()
    with pytest.raises(AdapterCrash, match="exit code 3"):  # the child has its output, so there is no end
        process.receive(60)
    process.kill()
    assert time.monotonic() - started < 30
    if apart:
        os.kill(child, signal.SIGKILL)
        return
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:  # one that ended stays as a zombie until somebody asks for it
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def test_package_imports_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"extism_kernel_conformance"}
    for path in sorted((SUITE / "extism_kernel_conformance").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            foreign = {name.partition(".")[0] for name in names} - allowed
            assert foreign <= ({"pytest"} if path.stem == "pytest_plugin" else set()), path.name
