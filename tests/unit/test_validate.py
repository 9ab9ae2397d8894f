from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.errors import ModuleMalformedError, NotAModuleError
from build_tools.kernel.validate import CHECKS, CODES, Expectation, check_module

from .conftest import MODULES, VERSION, load_generator

if TYPE_CHECKING:
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import Flavour

    from .conftest import Generator

FAULTS = load_generator().FAULTS


def check(data: bytes, abi: Abi, flavour: Flavour | None = "context") -> list[str]:
    return [f.code for f in check_module(data, Expectation(abi=abi, flavour=flavour, version=VERSION))]


def test_sound_module_has_no_findings(sound: bytes, abi: Abi) -> None:
    assert check(sound, abi) == []


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_module_trips_just_its_finding(name: str, abi: Abi) -> None:
    data = bytes(wasmtime.wat2wasm((MODULES / f"{name}.wat").read_text(encoding="utf-8")))
    assert check(data, abi, FAULTS[name].flavour) == [name.split("--", maxsplit=1)[0]]


def test_every_code_has_a_faulty_module() -> None:
    assert {name.split("--")[0] for name in FAULTS} == CODES.keys()


def test_faulty_modules_are_what_the_script_writes(generator: Generator, abi: Abi) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in MODULES.glob("*.wat")}
    assert written == generator.make(abi), "run `python tests/data/modules/generate.py`"


def test_all_findings_come_in_one_run(sound_text: str, abi: Abi) -> None:
    text = sound_text.replace("(memory 1)", "(memory 3 9)").replace(";; start", "(start 18)")
    codes = check(bytes(wasmtime.wat2wasm(text)), abi)
    assert codes == ["start-present", "memory-initial", "memory-maximum"]


def test_raw_module_may_have_what_the_linker_adds(raw: bytes, abi: Abi) -> None:
    assert check(raw, abi, None) == []


def test_raw_module_is_no_finished_kernel(raw: bytes, abi: Abi) -> None:
    codes = set(check(raw, abi, "core"))
    assert codes == {"export-missing", "export-extra", "section-unexpected", "stamp-missing"}


def test_core_flavour_may_not_have_the_context_global(sound: bytes, abi: Abi) -> None:
    assert set(check(sound, abi, "core")) == {"export-extra", "feature-forbidden"}


def test_stamp_of_any_version_will_do_where_none_is_named(abi: Abi) -> None:
    data = bytes(wasmtime.wat2wasm((MODULES / "stamp-differs.wat").read_text(encoding="utf-8")))
    assert check_module(data, Expectation(abi=abi, flavour="context")) == []


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
    assert check_module(sound, expectation) == check_module(sound, expectation)
