"""Kernels and records that the tests of `verify` make up."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING

from wasmtime import wat2wasm

from extism_kernel_pkg._wasm import encode_custom, encode_name, encode_vector
from extism_kernel_pkg.vendored import Verification, read_known, verify

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = ("alloc", "free", "length", "load_u8", "store_u8", "input_set", "output_set")
VERSION, OLDER, TOOLCHAIN = "3.2.1", "2.0.0", "1.90.0"


def producers(rustc: str) -> bytes:
    """A `producers` section that names a compiler."""
    field = encode_name("processed-by") + encode_vector([encode_name("rustc") + encode_name(rustc)])
    return encode_custom("producers", encode_vector([field]))


@functools.cache
def bare(prefix: str = "", extra: str = "") -> bytes:
    """A module that exports what a kernel exports, and says nothing of itself."""
    exports = "".join(f'(func (export "{prefix}{name}"))' for name in FUNCTIONS)
    return bytes(wat2wasm(f'(module (memory (export "memory") 1) {exports} {extra})'))


def kernel(version: str = VERSION, *, rustc: str = TOOLCHAIN, extra: str = "") -> bytes:
    """A kernel as we stamp it; `extra` changes its code."""
    return bare(extra=extra) + producers(rustc) + encode_custom("extism", version.encode())


def upstream(number: int) -> bytes:
    """One of two kernels that the records call upstream's."""
    return bare(extra=f'(func (export "upstream{number}"))')


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_records(folder: Path) -> Path:
    """Write the records of a package: a staged kernel, two releases, two kernels of upstream's."""
    (folder / "vendored").mkdir(parents=True)
    info = {
        "version": VERSION,
        "flavours": {"core": {"sha256": digest(kernel())}},
        "toolchain": {"rustc": TOOLCHAIN},
    }
    releases = [{"version": OLDER, "toolchain": TOOLCHAIN, "modules": {"core": digest(kernel(OLDER))}}]
    kernels = [
        {
            "sha256": digest(upstream(number)),
            "size": 1,
            "date": f"202{number}-01-02",
            "repository": "extism",
            "revision": "0123456789abcdef",
            "releases": ["extism 1.0.0"],
        }
        for number in (1, 2)
    ]
    content = {
        "kernel_info.json": info,
        "known_digests.json": {"schema": 1, "releases": releases},
        "vendored/upstream_digests.json": {"schema": 1, "current": digest(upstream(2)), "kernels": kernels},
    }
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def check(records: Path, *paths: Path, allowed: tuple[str, ...] = ()) -> Verification:
    """Verify paths against the records in a folder."""
    return verify(paths, read_known(records), allowed=allowed)


def answers(found: Verification) -> list[str]:
    """The answer for each kernel."""
    return [each.facts.answer.value for each in found.kernels]
