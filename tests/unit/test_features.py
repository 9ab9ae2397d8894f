from __future__ import annotations

import pytest
import wasmtime

from build_tools.wasm.features import OPCODE_FEATURES, UNKNOWN, feature_of
from build_tools.wasm.module import parse_module

OPCODES = {
    "i64.add": "mvp",
    "br_table": "mvp",
    "i32.extend8_s": "sign-extension",
    "memory.copy": "bulk-memory",
    "memory.fill": "bulk-memory",
    "table.grow": "reference-types",
    "ref.null": "reference-types",
    "i32.trunc_sat_f32_s": "nontrapping-fptoint",
    "v128.const": "simd",
    "return_call": "tail-call",
    "try_table": "exception-handling",
    "i64.add128": "wide-arithmetic",
    "memory.atomic.notify": "threads",
    "struct.new": "gc",
    "an.opcode.of.tomorrow": UNKNOWN,
}


@pytest.mark.parametrize(("name", "feature"), OPCODES.items(), ids=OPCODES)
def test_opcode_belongs_to_its_feature(name: str, feature: str) -> None:
    assert feature_of(name) == feature


def test_every_opcode_that_the_reader_knows_has_a_feature() -> None:
    assert [name for name, feature in OPCODE_FEATURES.items() if feature == UNKNOWN] == []


DECLARATIONS = {
    "an imported 64-bit memory": ('(import "a" "b" (memory i64 1))', "memory64"),
    "a memory beside an imported one": ('(import "a" "b" (memory 1)) (memory 1)', "multi-memory"),
    "an imported table of externref": ('(import "a" "b" (table 1 externref))', "reference-types"),
    "a second table": ("(table 1 funcref) (table 1 funcref)", "reference-types"),
    "an exported mutable global": ('(global (export "g") (mut i32) (i32.const 0))', "mutable-globals"),
    "an export of an imported mutable global": (
        '(import "a" "b" (global $g (mut i32))) (export "g" (global $g))',
        "mutable-globals",
    ),
    "an imported vector": ('(import "a" "b" (global v128))', "simd"),
    "a passive segment": ('(memory 1) (data "x")', "bulk-memory"),
    "two results": ("(type (func (result i32 i32)))", "multi-value"),
    "a structure": ("(type (struct))", "gc"),
    "a tag": ("(tag)", "exception-handling"),
}


@pytest.mark.parametrize(("text", "feature"), DECLARATIONS.values(), ids=DECLARATIONS)
def test_declaration_needs_its_feature(text: str, feature: str) -> None:
    assert feature in parse_module(bytes(wasmtime.wat2wasm(f"(module {text})"))).features


def test_module_of_the_first_release_needs_no_feature() -> None:
    text = '(memory (export "m") 1) (global i32 (i32.const 0)) (func (export "f") (result i64) i64.const 0)'
    module = parse_module(bytes(wasmtime.wat2wasm(f"(module {text})")))
    assert module.features == {}
    assert [(each.name, each.type) for each in module.exports] == [("m", "memory"), ("f", "() -> i64")]


def test_module_that_cannot_be_read_has_a_fault_and_no_facts() -> None:
    module = parse_module(bytes(wasmtime.wat2wasm('(module (memory (export "m") 1))'))[:-1])
    assert module.fault is not None
    assert module.invalidity is not None
    assert (module.exports, module.imports, dict(module.features)) == ((), (), {})
