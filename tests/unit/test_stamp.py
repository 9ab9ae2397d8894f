from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from build_tools.base.errors import ModuleMalformedError
from build_tools.kernel.stamp import stamp_module
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FLAVOURS, Flavour, LoweredModule, ValidatedModule
from build_tools.toolchain.values import Toolchain
from build_tools.wasm.module import parse_module
from extism_kernel_pkg import _wasm
from extism_kernel_pkg._wasm import SectionId, encode_name, encode_unsigned, encode_vector

from .conftest import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.kernel.abi import Abi

NUMBERS = {0: "00", 1: "01", 127: "7f", 128: "8001", 300: "ac02", 2**32 - 1: "ffffffff0f"}


@pytest.mark.parametrize(("value", "encoded"), NUMBERS.items())
def test_leb128_is_the_shortest(value: int, encoded: str) -> None:
    assert encode_unsigned(value).hex() == encoded


def test_leb128_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError, match="-1"):
        encode_unsigned(-1)


def test_names_are_counted_in_bytes() -> None:
    assert encode_name("é") == b"\x02\xc3\xa9"
    assert encode_vector([b"a", b"bc"]) == b"\x02abc"


def section(data: bytes, number: SectionId) -> bytes | None:
    entry = parse_module(data).parts.section(number)
    return None if entry is None else entry.content


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_stamp_makes_a_kernel_without_findings(
    validated: ValidatedModule, abi: Abi, flavour: Flavour
) -> None:
    stamped = stamp_module(validated, abi, flavour)
    assert (
        check_module(parse_module(stamped.data), Expectation(abi=abi, flavour=flavour, version=VERSION)) == []
    )


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_stamp_leaves_code_section_unchanged(
    validated: ValidatedModule, raw: bytes, abi: Abi, flavour: Flavour
) -> None:
    code = section(raw, SectionId.CODE)
    assert code is not None
    assert section(stamp_module(validated, abi, flavour).data, SectionId.CODE) == code


def test_stamp_is_deterministic(validated: ValidatedModule, abi: Abi) -> None:
    assert stamp_module(validated, abi, "core") == stamp_module(validated, abi, "core")


def test_stamp_drops_what_the_linker_added(validated: ValidatedModule, abi: Abi) -> None:
    module = parse_module(stamp_module(validated, abi, "core").data)
    assert {export.name for export in module.exports} == abi.expected_exports(
        "core", with_aliases=True
    ).keys()
    own = tuple(entry.split(" = ")[0] for entry in abi.structure.globals or ())
    assert tuple(entry.type for entry in module.parts.globals) == own, (
        "the markers of the linker are gone, the kernel's own are not"
    )
    customs = [each.name for each in module.parts.sections if each.id is SectionId.CUSTOM]
    assert customs == ["producers", "extism", "extism_abi"]


def test_stamp_leaves_out_a_table_that_nothing_uses(validated: ValidatedModule, abi: Abi) -> None:
    assert section(stamp_module(validated, abi, "core").data, SectionId.TABLE) is None


TABLE_USES = {
    "call": ("(memory.fill", "(call_indirect (type 0) (i64.const 0) (i32.const 0)) drop (memory.fill"),
    "element": ('(export "memory"', '(elem (i32.const 0) 0) (export "memory"'),
}


@pytest.mark.parametrize(("old", "new"), TABLE_USES.values(), ids=TABLE_USES)
def test_stamp_keeps_a_table_that_something_uses(old: str, new: str, raw_text: str, abi: Abi) -> None:
    data = bytes(wasmtime.wat2wasm(raw_text.replace(old, new, 1)))
    module = ValidatedModule(
        lowered=LoweredModule(module=parse_module(data), sha256="", version=VERSION, toolchain=None)
    )
    assert section(stamp_module(module, abi, "core").data, SectionId.TABLE) is not None


def test_stamp_leaves_out_a_stack_pointer_that_nothing_moves(raw_text: str, abi: Abi) -> None:
    text = re.sub(
        r"\(global .*;; own [1-9].*\n", "", raw_text
    )  # a linker's module with a stack pointer alone
    text = re.sub(r"\(global\.get \d+\)", "(i32.const 0)", text)
    text = re.sub(r'\(export "__\w+" \(global \d+\)\)', "", text)
    data = bytes(wasmtime.wat2wasm(text))
    module = ValidatedModule(
        lowered=LoweredModule(module=parse_module(data), sha256="", version=VERSION, toolchain=None)
    )
    assert _wasm.Module(stamp_module(module, abi, "core").data).globals == ()
    (added,) = _wasm.Module(stamp_module(module, abi, "context").data).globals
    assert added.type == "mut externref"


def test_stamp_adds_the_context_global_to_one_flavour(validated: ValidatedModule, abi: Abi) -> None:
    context = stamp_module(validated, abi, "context")
    core = stamp_module(validated, abi, "core")
    assert "reference-types" in context.features
    assert "reference-types" not in core.features
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, context.data), [])
    value = instance.exports(store)["extism_context"]
    assert isinstance(value, wasmtime.Global)
    held: Any = value.value(store)
    assert held.value is None
    assert value.type(store).mutable


def test_stamp_of_a_stamped_kernel_changes_nothing(validated: ValidatedModule, abi: Abi) -> None:
    for flavour in FLAVOURS:
        once = stamp_module(validated, abi, flavour)
        again = ValidatedModule(
            lowered=LoweredModule(
                module=parse_module(once.data), sha256=once.sha256, version=VERSION, toolchain=None
            )
        )
        for other in FLAVOURS:
            assert stamp_module(again, abi, other) == stamp_module(validated, abi, other)


def test_stamp_records_the_compiler(validated: ValidatedModule, abi: Abi, tmp_path: Path) -> None:
    toolchain = Toolchain(origin="test", rustc=tmp_path, version="1.99.0", commit="abc", host="h", llvm="1")
    lowered = dataclasses.replace(validated.lowered, toolchain=toolchain)
    data = stamp_module(ValidatedModule(lowered=lowered), abi, "core").data
    (producers,) = _wasm.Module(data).custom("producers")
    assert b"rustc\x061.99.0" in producers
    assert str(tmp_path).encode() not in data


def test_stamp_refuses_a_global_that_it_cannot_keep(raw: bytes, sound_text: str, abi: Abi) -> None:
    text = sound_text.replace("(ref.null extern))", "(ref.null extern)) (global f64 (f64.const 1))")
    text = text.replace('"memory" (memory 0))', '"memory" (memory 0)) (export "extra" (global 1))')
    data = bytes(wasmtime.wat2wasm(text))
    module: Any = ValidatedModule(
        lowered=LoweredModule(module=parse_module(data), sha256="", version=VERSION, toolchain=None)
    )
    with pytest.raises(ModuleMalformedError, match="not an integer constant"):
        stamp_module(module, abi, "core")
    assert raw
