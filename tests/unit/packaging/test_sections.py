from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from build_tools.base.errors import ModuleMalformedError
from build_tools.wasm.sections import find_custom, read_export_names, read_sections

HEADER = b"\0asm\1\0\0\0"
MODULE = bytes(
    wat2wasm('(module (memory (export "memory") 1) (func (export "é")) (global i32 (i32.const 1)))')
)
CUSTOM = b"\0\x08\x04nameabc"


def test_sections_cover_the_module_without_gaps() -> None:
    names = [section.name for section in read_sections(MODULE + CUSTOM)]
    assert [name for name in names if name != "name"] == [
        "type",
        "function",
        "memory",
        "global",
        "export",
        "code",
    ]
    for section in read_sections(MODULE + CUSTOM):
        end = section.offset + len(section.content)
        assert (MODULE + CUSTOM)[section.offset : end] == section.content


def test_exports_are_read_by_name() -> None:
    assert read_export_names(MODULE) == {"memory", "é"}


def test_custom_section_is_found_by_name() -> None:
    assert find_custom(HEADER + CUSTOM, "name") == b"abc"
    assert find_custom(HEADER + CUSTOM, "other") is None


FAULTS = {
    "no-module": (b"\x7fELF", "does not start"),
    "section-too-long": (HEADER + b"\x01\x05\x00", "does not fit"),
    "size-cut-short": (HEADER + b"\x01\x80", "cut short"),
    "size-too-long": (HEADER + b"\x01\x80\x80\x80\x80\x80\x00", "cut short or too long"),
    "name-too-long": (HEADER + b"\0\x02\x09a", "past the end"),
    "name-not-utf8": (HEADER + b"\0\x02\x01\xff", "not UTF-8"),
}


@pytest.mark.parametrize(("data", "message"), FAULTS.values(), ids=FAULTS)
def test_broken_module_is_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(ModuleMalformedError, match=message) as caught:
        list(read_sections(data))
    assert (caught.value.where or "").startswith("byte")


def test_export_section_that_ends_early_is_refused() -> None:
    with pytest.raises(ModuleMalformedError, match="cut short"):
        read_export_names(HEADER + b"\x07\x01\x02")
