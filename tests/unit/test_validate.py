from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ModuleMalformedError, NotAModuleError
from build_tools.kernel.abi import REFUSABLE
from build_tools.kernel.structure import find_circle
from build_tools.kernel.validate import CHECKS, CODES, Expectation, check_module
from build_tools.wasm.module import parse_module
from extism_kernel_pkg._wasm import HEADER, Section, SectionId, encode_name, read_sections

from .conftest import MODULES, VERSION, load_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import Flavour
    from extism_kernel_pkg._wasm import Section

from .conftest import Generator

FAULTS = load_generator().FAULTS


@pytest.fixture(scope="session")
def strict(abi: Abi) -> Abi:
    """The contract with every finding switched on that abi.toml can switch off."""
    return replace(abi, structure=replace(abi.structure, refused=REFUSABLE))


def check(data: bytes, abi: Abi, flavour: Flavour | None = "context") -> list[str]:
    expectation = Expectation(abi=abi, flavour=flavour, version=VERSION)
    return [f.code for f in check_module(parse_module(data), expectation)]


def test_sound_module_has_no_findings(sound: bytes, abi: Abi) -> None:
    assert check(sound, abi) == []


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_module_trips_just_its_finding(name: str, strict: Abi) -> None:
    data = bytes(wasmtime.wat2wasm((MODULES / f"{name}.wat").read_text(encoding="utf-8")))
    assert check(data, strict, FAULTS[name].flavour) == [name.split("--", maxsplit=1)[0]]


def test_every_code_has_a_faulty_module() -> None:
    assert {name.split("--")[0] for name in FAULTS} == CODES.keys()


def test_faulty_modules_are_what_the_script_writes(generator: Generator, abi: Abi) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in MODULES.glob("*.wat")}
    assert written == generator.make(abi), "run `python tests/data/modules/generate.py`"


def test_all_findings_come_in_one_run(sound_text: str, abi: Abi) -> None:
    text = sound_text.replace("(memory 2)", "(memory 3 9)").replace(";; start", "(start 17)")
    codes = check(bytes(wasmtime.wat2wasm(text)), abi)
    assert codes == ["start-present", "memory-initial", "memory-maximum"]


def test_raw_module_may_have_what_the_linker_adds(raw: bytes, abi: Abi) -> None:
    assert check(raw, abi, None) == []


def test_raw_module_is_no_finished_kernel(raw: bytes, abi: Abi) -> None:
    codes = set(check(raw, abi, "core"))
    assert codes == {
        "export-extra",
        "export-missing",
        "section-extra",
        "section-unexpected",
        "stamp-missing",
    }


def test_core_flavour_may_not_have_the_context_global(sound: bytes, abi: Abi) -> None:
    assert set(check(sound, abi, "core")) == {"export-extra", "feature-forbidden"}


def test_stamp_of_any_version_will_do_where_none_is_named(abi: Abi) -> None:
    data = bytes(wasmtime.wat2wasm((MODULES / "stamp-differs.wat").read_text(encoding="utf-8")))
    assert check_module(parse_module(data), Expectation(abi=abi, flavour="context")) == []


NOT_MODULES = {
    "empty": (b"", NotAModuleError, "the file is empty"),
    "text": (b"(module)", NotAModuleError, "starts with b'\\(mod'"),
    "elf": (b"\x7fELF\2\1\1", NotAModuleError, "ELF"),
    "component": (b"\0asm\x0d\0\1\0", NotAModuleError, "is a component"),
    "cut-header": (b"\0asm\1", ModuleMalformedError, "ends after 5 bytes"),
    "future-version": (b"\0asm\2\0\0\0", ModuleMalformedError, "binary version 2"),
}


@pytest.mark.parametrize(("data", "error", "message"), NOT_MODULES.values(), ids=NOT_MODULES)
def test_bytes_that_are_no_module_are_named(
    data: bytes, error: type[Exception], message: str, abi: Abi
) -> None:
    with pytest.raises(error, match=message):
        check(data, abi)


def test_module_cut_anywhere_is_invalid_and_never_a_crash(sound: bytes, abi: Abi) -> None:
    for length in range(8, len(sound) - 1, 7):
        codes = set(check(sound[:length], abi))
        assert codes <= CODES.keys()
        assert codes, length


def test_checks_are_pure(sound: bytes, abi: Abi) -> None:
    expectation = Expectation(abi=abi, flavour="context", version=VERSION)
    assert len(CHECKS) == len({check.__name__ for check in CHECKS})
    assert check_module(parse_module(sound), expectation) == check_module(parse_module(sound), expectation)


@pytest.mark.parametrize("code", REFUSABLE)
def test_finding_that_abi_toml_does_not_name_is_let_through(code: str, abi: Abi) -> None:
    data = bytes(wasmtime.wat2wasm((MODULES / f"{code}.wat").read_text(encoding="utf-8")))
    lax = replace(abi, structure=replace(abi.structure, refused=()))
    assert code not in check(data, lax)


def longer(data: bytes) -> bytes:
    """The module with the size of each section in five bytes."""
    out = HEADER
    for section in read_sections(data):
        content = _whole(section) if section.id is SectionId.CUSTOM else section.content
        number = len(content)
        leb = bytes((number >> 7 * at & 0x7F) | (0x80 if at < 4 else 0) for at in range(5))
        out += bytes((section.id,)) + leb + content
    return out


def _whole(section: Section) -> bytes:
    return encode_name(section.name) + section.content


def with_customs_first(data: bytes) -> bytes:
    """The module with its custom sections before all others."""
    sections = list(read_sections(data))
    ordered = sorted(sections, key=lambda section: section.id is not SectionId.CUSTOM)
    return HEADER + b"".join(data[section.start : section.end] for section in ordered)


@pytest.mark.parametrize("change", [longer, with_customs_first])
def test_correct_variant_has_no_findings(change: Callable[[bytes], bytes], sound: bytes, abi: Abi) -> None:
    data = change(sound)
    assert data != sound
    assert check(data, abi) == []


def test_circles_of_calls_are_found() -> None:
    assert find_circle({}) == []
    assert find_circle({1: frozenset({2, 3}), 2: frozenset({3})}) == []
    assert find_circle({1: frozenset({2}), 2: frozenset({3, 4}), 3: frozenset({2})}) == [2, 3, 2]
    deep = {at: frozenset({at + 1}) for at in range(100_000)}
    assert find_circle(deep) == []
    assert len(find_circle({**deep, 100_000: frozenset({0})})) == 100_002
