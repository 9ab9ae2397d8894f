"""The kernel inside a library is found by its sections and replaced by one of the same length."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from .conftest import SUITE

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = SUITE / "adapters" / "sdk-python" / "embedded.py"


def _load() -> Any:  # noqa: ANN401 - a script, not a package
    spec = importlib.util.spec_from_file_location("embedded", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


embedded = _load()
KERNEL = bytes(
    wasmtime.wat2wasm('(module (memory 1) (func (export "input_load_u64") (result i64) i64.const 7))')
)
OTHER = bytes(wasmtime.wat2wasm('(module (memory 1) (func (export "something") (result i64) i64.const 7))'))
LIBRARIES = {
    "zeros-follow": b"\x7fELF" + OTHER + b"xx" + KERNEL + bytes(64),
    "text-follows": b"\x7fELF" + KERNEL + b"and so on, in words" + OTHER,
    "the-end-follows": b"\x7fELF" + KERNEL,
    "a-module-follows": OTHER + KERNEL + OTHER,
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_kernel_is_found_whatever_follows_it(library: str) -> None:
    start, end = embedded.find_kernel(LIBRARIES[library])
    assert LIBRARIES[library][start:end] == KERNEL


@pytest.mark.parametrize("data", [b"", OTHER, KERNEL + KERNEL], ids=["nothing", "no-kernel", "two"])
def test_library_without_exactly_one_kernel_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="kernels are in the library"):
        embedded.find_kernel(data)


@pytest.mark.parametrize("more", [0, *range(3, 12), 128, 129, 130, 131, 132, 5000])
def test_padded_kernel_is_a_module_of_that_length_and_can_be_told_from_its_padding(more: int) -> None:
    padded = embedded.pad(KERNEL, len(KERNEL) + more)
    assert len(padded) == len(KERNEL) + more
    wasmtime.Module.validate(wasmtime.Engine(), padded)
    assert embedded.strip_padding(padded) == KERNEL


@pytest.mark.parametrize("more", [-1, 1, 2])
def test_kernel_that_does_not_fit_is_refused_with_both_lengths(more: int) -> None:
    with pytest.raises(ValueError, match=f"the kernel has {len(KERNEL)} bytes; {len(KERNEL) + more}"):
        embedded.pad(KERNEL, len(KERNEL) + more)


def test_library_is_changed_in_place_and_says_so(tmp_path: Path) -> None:
    library = tmp_path / "sdk" / "extism_sys" / "libextism_sys.so"
    library.parent.mkdir(parents=True)
    old = embedded.pad(KERNEL, len(KERNEL) + 100)
    library.write_bytes(b"before" + old + bytes(64))
    kernel = tmp_path / "kernel.wasm"
    kernel.write_bytes(KERNEL)
    subprocess.run([sys.executable, SCRIPT, tmp_path / "sdk", kernel], check=True)
    digest = hashlib.sha256(KERNEL).hexdigest()
    assert embedded.embedded_digest(tmp_path / "sdk") == digest
    assert library.stat().st_size == 6 + len(old) + 64
    assert digest in (library.parent / "CHANGED.txt").read_text(encoding="utf-8")


LISTS = sorted(SUITE.glob("adapters/sdk-*/known-failures.json"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.name)
def test_what_blames_the_kernel_is_gone_with_the_kernel_that_is_given(path: Path) -> None:
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert all(entry.get("blame") for entry in entries)
    blamed = [entry for entry in entries if entry["blame"] == "kernel"]
    assert {entry["configuration"] for entry in blamed} <= {path.parent.name}
    both = {entry["case"] for entry in entries if entry["configuration"] != path.parent.name}
    mixed = {entry["case"] for entry in blamed} & both
    assert all(entry["blame"] != "kernel" for entry in entries if "own code" in entry["why"])
    # What the kernel shipped spoils first, and the SDK's own code then.
    assert all(case.startswith("probe/") for case in mixed)
