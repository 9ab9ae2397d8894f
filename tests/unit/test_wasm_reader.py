"""The one reader of module structure: reads all that the format has, names the place of faults."""

from __future__ import annotations

import pickle
import random

import pytest
from wasmtime import wat2wasm

from extism_kernel_pkg._wasm import (
    HEADER,
    Cursor,
    InvalidModuleError,
    Module,
    encode_custom,
    encode_section,
    encode_signed,
    encode_unsigned,
    encode_vector,
    read_module,
    read_sections,
)

EVERYTHING = bytes(
    wat2wasm("""(module
  (rec (type (struct (field i8) (field (mut (ref null 0))))) (type (sub (array (mut i16)))))
  (type $f (func (param (ref 0) anyref) (result externref v128)))
  (import "a" "b" (func (type $f))) (import "a" "t" (table 1 2 funcref))
  (import "a" "m" (memory i64 1 2)) (import "a" "g" (global (mut i64)))
  (table 2 (ref func) (ref.func 1)) (memory 1 3) (tag (param i32))
  (global i64 (i64.const -5)) (global (mut externref) (ref.null extern))
  (global v128 (v128.const i64x2 1 2)) (global f64 (f64.const 1)) (global f32 (f32.const 1))
  (global i32 (i32.add (i32.const 1) (i32.const 2)))
  (global (ref 0) (struct.new 0 (i32.const 1) (ref.null 0)))
  (func $x (export "x") (local i32) (memory.init 0 (i64.const 0) (i32.const 0) (i32.const 0)))
  (elem func 1) (elem (table 0) (i32.const 0) funcref (ref.func 1) (ref.null func))
  (elem declare func 1) (elem (i32.const 0) func 1)
  (data "abc") (data (memory 1) (i32.const 0) "x") (start $x) (@custom "hi" "abc"))""")
)


def test_reader_reads_all_that_a_module_can_declare() -> None:
    module = read_module(EVERYTHING)
    assert [str(kind) for kind in module.types] == [
        "None",
        "None",
        "((ref 0), anyref) -> (externref, v128)",
        "(i32) -> ()",
        "() -> ()",
    ]
    assert [(entry.kind, entry.name) for entry in module.imports] == [
        ("func", "b"),
        ("table", "t"),
        ("memory", "m"),
        ("global", "g"),
    ]
    assert [entry.type for entry in module.globals] == [
        "i64",
        "mut externref",
        "v128",
        "f64",
        "f32",
        "i32",
        "(ref 0)",
    ]
    assert [entry.value for entry in module.globals][:2] == ["i64.const -5", "ref.null extern"]
    assert module.globals[-2].value == "i32.const 1; i32.const 2; i32.add"
    assert module.globals[-1].value == "i32.const 1; ref.null 0; struct.new 0"
    assert [entry.mode for entry in module.elements] == ["passive", "active", "declared", "active"]
    assert [entry.mode for entry in module.data_segments] == ["passive", "active"]
    assert (module.start, module.data_count, module.tags, module.names) == (1, 2, (3,), {1: "x"})
    assert module.memories[0].maximum == 3
    assert module.imports[2].limits is not None
    assert module.imports[2].limits.is_64
    assert module.tables[0].has_value
    assert module.custom("hi") == [b"abc"]
    assert [str(kind) for kind in module.function_types][1:] == ["() -> ()"]
    (body,) = module.bodies
    assert module.data[body.end - 1] == 0x0B


def test_sections_cover_the_module_without_gaps() -> None:
    at = len(HEADER)
    for section in read_sections(EVERYTHING):
        assert section.start == at
        assert EVERYTHING[section.offset : section.end] == section.content
        at = section.end
    assert at == len(EVERYTHING)


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 2**31, 2**32 - 1])
def test_numbers_are_read_as_written_also_in_longer_encodings(value: int) -> None:
    short = encode_unsigned(value)
    padded = bytearray(short[:-1] + bytes((short[-1] | 0x80,)) + b"\x80" * (4 - len(short)) + b"\0")
    assert Cursor(short).u32() == value
    assert Cursor(bytes(padded) if len(short) < 5 else short).u32() == value
    for signed in (value, -value):
        assert Cursor(encode_signed(signed)).s64() == signed


TYPE = encode_section(1, encode_vector([b"\x60\0\0"]))
FAULTS = {
    "empty": (b"", "is empty"),
    "elf": (b"\x7fELF\2\1\1\0", "starts with"),
    "cut-header": (HEADER[:6], "inside the header"),
    "component": (b"\0asm\x0d\0\1\0", "is a component"),
    "future-version": (b"\0asm\2\0\0\0", "binary version 2"),
    "section-unknown": (HEADER + b"\x0e\0", "section id 14 is unknown"),
    "section-too-long": (HEADER + b"\x01\x05\0", "does not fit"),
    "size-cut-short": (HEADER + b"\x01\x80", "another byte should be"),
    "size-of-six-bytes": (HEADER + b"\x01\x80\x80\x80\x80\x80\0", "more than 5 bytes"),
    "size-of-33-bits": (HEADER + b"\x01\xff\xff\xff\xff\x1f", "more than 32 bits"),
    "section-repeated": (HEADER + TYPE + TYPE, "out of order or repeated"),
    "section-too-late": (HEADER + b"\x07\1\0\x05\1\0", "memory section is out of order"),
    "name-too-long": (HEADER + b"\0\2\x09a", "a name of 9 bytes does not fit"),
    "name-not-utf8": (HEADER + b"\0\2\1\xff", "not UTF-8"),
    "bytes-left-over": (HEADER + b"\1\2\0\0", "left over in the type section"),
    "count-beyond-section": (HEADER + b"\1\5\xff\xff\xff\xff\x0f", "do not fit"),
    "type-unknown": (HEADER + b"\1\2\1\x40", "no kind of type"),
    "value-type-unknown": (HEADER + b"\1\5\1\x60\1\x10\0", "no value type"),
    "import-kind-unknown": (HEADER + b"\2\5\1\0\0\5\0", "no kind of import"),
    "limits-unknown": (HEADER + b"\5\3\1\x10\0", "flags of limits"),
    "global-not-constant": (HEADER + b"\6\6\1\x7f\0\x20\0\x0b", "no instruction of a constant"),
    "global-mutability": (HEADER + b"\6\6\1\x7f\2\x41\0\x0b", "no mutability"),
    "export-twice": (HEADER + b"\7\x09\2\1a\0\0\1a\0\0", "exported twice"),
    "element-flags": (HEADER + b"\x09\2\1\x08", "flags of an element"),
    "data-flags": (HEADER + b"\x0b\2\1\3", "flags of a data"),
    "body-too-long": (HEADER + b"\x0a\3\1\x09\0", "a function of 9 bytes does not fit"),
    "code-without-functions": (HEADER + b"\x0a\4\1\2\0\x0b", "0 functions are declared, 1 have code"),
    "function-of-no-type": (HEADER + b"\3\2\1\0\x0a\4\1\2\0\x0b", "no function's"),
    "data-count-differs": (HEADER + b"\x0c\1\1", "1 data segments are announced, 0"),
}


@pytest.mark.parametrize(("data", "message"), FAULTS.values(), ids=FAULTS)
def test_malformed_module_is_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(InvalidModuleError, match=message) as caught:
        read_module(data)
    assert 0 <= caught.value.offset <= len(data)
    assert f"at byte {caught.value.offset:#x}" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own


def test_any_change_of_a_byte_is_read_or_refused_and_never_a_crash() -> None:
    chance = random.Random(1)  # noqa: S311 - the same on every run
    refused = taken = 0
    for _ in range(3000):
        data = bytearray(EVERYTHING)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            read_module(bytes(data))
        except InvalidModuleError as error:
            refused += 0 <= error.offset <= len(data)
        else:
            taken += 1
    assert refused > 500
    assert refused + taken == 3000


def test_module_cut_anywhere_is_refused_or_ends_between_sections() -> None:
    ends = {section.end for section in read_sections(EVERYTHING)} | {len(HEADER)}
    for length in range(len(EVERYTHING)):
        if length in ends:
            Module(EVERYTHING[:length])
        else:
            with pytest.raises(InvalidModuleError):
                Module(EVERYTHING[:length])


def test_custom_sections_may_be_anywhere_and_repeated() -> None:
    data = HEADER + encode_custom("a", b"1") + TYPE + encode_custom("a", b"2")
    assert read_module(data).custom("a") == [b"1", b"2"]
