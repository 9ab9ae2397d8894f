"""What several tests hold modules against."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

import pytest
import wasmtime
from wasm_tools.models import ObjdumpOptions, ObjdumpState
from wasm_tools.parser import BinaryReader
from wasm_tools.visitor import BinaryReaderObjdumpPrepass

from build_tools.kernel.abi import Abi, read_abi
from build_tools.kernel.values import LoweredModule, ValidatedModule
from build_tools.kernel.version import read_version
from build_tools.wasm.module import parse_module
from extism_kernel_pkg._wasm import encode_custom, encode_unsigned, encode_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.kernel.values import Flavour

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "tests" / "data" / "modules"
VERSION = "1.0.0"  # of the modules in tests/data, whatever the kernel's is
CURRENT = read_version(ROOT / "kernel-src" / "Cargo.toml")
# Two globals, as a linker imports them.
PLACEHOLDERS = """
  (import "global" "get span" (func $get_span (result i64)))
  (import "global" "set span" (func $set_span (param i64)))
  (import "global" "get count" (func $get_count (result i32)))
  (import "global" "set count" (func $set_count (param i32)))"""
OWN_GLOBAL = re.compile(r"\(mut (i32|i64)\) \(i\d\d\.const (\d+)\)")


class _Uses(BinaryReaderObjdumpPrepass):  # type: ignore[misc]  # the library is not typed
    """Notes where functions and globals are used, as a linker does."""

    KINDS: ClassVar = {"call": 0, "return_call": 0, "ref.func": 0, "global.get": 7, "global.set": 7}

    def __init__(self, data: bytes) -> None:
        super().__init__(data, ObjdumpOptions(), ObjdumpState())
        self.mnemonic = ""
        self.code = 0
        self.found: list[bytes] = []

    def begin_module(self, version: int) -> None:
        """Print nothing."""

    def begin_section(self, section_index: int, section_code: int, size: int) -> None:
        super().begin_section(section_index, section_code, size)
        self.code = self.offset

    def on_opcode(self, opcode: object) -> None:
        self.mnemonic = str(getattr(opcode, "name", opcode))

    def on_opcode_index(self, idx: int) -> None:
        if self.mnemonic in self.KINDS:
            entry = bytes((self.KINDS[self.mnemonic],)) + encode_unsigned(self.offset + 1 - self.code)
            self.found.append(entry + encode_unsigned(idx))


def add_relocations(data: bytes) -> bytes:
    """Return a module with the table that `--emit-relocs` writes."""
    uses = _Uses(data)
    BinaryReader(data, uses).read_module()
    return data + encode_custom("reloc.CODE", b"\3" + encode_vector(uses.found))


class Fault(Protocol):
    """One row of the script's table."""

    flavour: Flavour


class Generator(Protocol):
    """What the tests use of the script that writes the faulty modules."""

    FAULTS: dict[str, Fault]

    def skeleton(self, abi: Abi) -> str: ...

    def own_globals(self, abi: Abi) -> list[str]: ...

    def function_numbers(self, abi: Abi) -> dict[str, int]: ...

    def make(self, abi: Abi) -> dict[str, str]: ...


def load_generator() -> Generator:
    spec = importlib.util.spec_from_file_location("generate_faulty_modules", MODULES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return cast("Generator", module)


@pytest.fixture(scope="session")
def abi() -> Abi:
    return read_abi(ROOT / "kernel-src" / "abi.toml")


@pytest.fixture(scope="session")
def generator() -> Generator:
    return load_generator()


@pytest.fixture(scope="session")
def sound_text(generator: Generator, abi: Abi) -> str:
    return generator.skeleton(abi)


@pytest.fixture(scope="session")
def sound(sound_text: str) -> bytes:
    """A finished kernel's skeleton, context flavour: it keeps the surface and does nothing."""
    return bytes(wasmtime.wat2wasm(sound_text))


@pytest.fixture(scope="session")
def raw(raw_text: str) -> bytes:
    """What a linker makes of a kernel: current names only, markers, a name section."""
    return bytes(wasmtime.wat2wasm(raw_text))


@pytest.fixture(scope="session")
def raw_text(generator: Generator, abi: Abi) -> str:
    """The text of `raw`."""
    return make_raw(generator, abi, generator.own_globals(abi))


def make_raw(generator: Generator, abi: Abi, own: list[str]) -> str:
    """Return the text of what a linker makes, with these globals before its own markers."""
    lines = ["(module", "(table 1 1 funcref)", "(memory 2)", *own]
    lines += [
        "(global i32 (i32.const 5000))",
        "(global i32 (i32.const 131072))",
        '(export "memory" (memory 0))',
    ]
    numbers = generator.function_numbers(abi)
    for function in abi.functions:
        params, result = function.type.split(" -> ")
        words = params.strip("()").replace(",", "")
        signature = (f"(param {words}) " if words else "") + ("" if result == "()" else f"(result {result}) ")
        index = numbers[function.name]
        body = f"(drop (i32.const {index})) (memory.fill (i32.const 0) (i32.const 0) (global.get 0))"
        body += f" (drop (global.get {len(own) - 1}))"
        body += "" if result == "()" else f" ({result}.const {index})"
        if function.same_as is None:
            lines.append(f"(func {signature}{body})")
        lines.append(f'(export "{function.name}" (func {index}))')
    lines += [f'(export "__data_end" (global {len(own)}))', f'(export "__heap_base" (global {len(own) + 1}))']
    lines += ['(@custom "name" "\\00\\01\\00")', '(@custom "target_features" "\\00")', ")"]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def unlowered(generator: Generator, abi: Abi) -> bytes:
    """What a linker makes of a kernel: all its globals are placeholders still."""
    imports, uses = "", ""
    for number, text in enumerate(generator.own_globals(abi)):
        match = OWN_GLOBAL.search(text)
        assert match is not None, text
        kind, value = match.groups()
        begin = "" if value == "0" else f"={value}"
        imports += f'(import "global" "get {number}{begin}" (func (result {kind})))'
        imports += f'(import "global" "set {number}" (func (param {kind})))'
        uses += f"(call {2 * number + 1} (call {2 * number}))"
    text = make_raw(generator, abi, [])
    first = imports.count("(import")
    for index in reversed(range(len(abi.functions))):
        text = text.replace(f"(func {index})", f"(func {index + first})")
    text = text.replace("(drop (global.get -1))", "").replace("(global.get 0)", "(i32.const 0)")
    text = text.replace("(module", f"(module {imports}", 1).replace("(drop (i32.const 0))", uses, 1)
    return add_relocations(bytes(wasmtime.wat2wasm(text)))


@pytest.fixture(scope="session")
def validated(raw: bytes) -> ValidatedModule:
    return ValidatedModule(
        lowered=LoweredModule(module=parse_module(raw), sha256="", version=VERSION, toolchain=None)
    )


@pytest.fixture
def make_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that puts a shell script on PATH, where nothing else is."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return make
