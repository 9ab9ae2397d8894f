"""`kernel_info.json` as frozen values."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from extism_kernel_pkg._errors import KernelCorruptError, KernelNotStagedError

if TYPE_CHECKING:
    from collections.abc import Mapping

Flavour = Literal["context", "core"]
FLAVOURS: tuple[Flavour, ...] = ("context", "core")
INFO_FILENAME = "kernel_info.json"
SCHEMA = 1
BUILD = "run `python -m build_tools kernel` in the checkout"
REINSTALL = "reinstall the package, or " + BUILD


@dataclass(frozen=True)
class FlavourInfo:
    """One module: file name, size in bytes, digest (sha256, hex) and WebAssembly features beyond the MVP."""

    file: str
    size: int
    sha256: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class KernelExport:
    """One export: `type` is like `(i64) -> i64`, `alias` its first-generation name, if it has one.

    `since` is the ABI version that brought it; `flavours` are those that have it.
    """

    name: str
    kind: str
    type: str
    since: int
    alias: str | None
    flavours: tuple[Flavour, ...]


@dataclass(frozen=True)
class ToolchainInfo:
    """What the kernel was compiled with; fields are empty for a module that was made elsewhere."""

    origin: str
    rustc: str
    commit: str
    host: str
    llvm: str
    linker: str
    packages: Mapping[str, str]
    is_release: bool


@dataclass(frozen=True)
class KernelInfo:
    """What is known about the kernel; `source_sha256` is the digest of the sources that it was made from."""

    version: str
    abi_version: int
    flavours: Mapping[Flavour, FlavourInfo]
    exports: tuple[KernelExport, ...]
    toolchain: ToolchainInfo
    source_sha256: str


@functools.cache
def kernel_info() -> KernelInfo:
    """Return what is known about the kernel in this package.

    Raises `KernelNotStagedError` in a checkout where none was built, `KernelCorruptError` if the file that
    tells is damaged or of another schema.
    """
    from importlib.resources import files  # noqa: PLC0415 - it takes longer than all the rest

    package = __name__.rpartition(".")[0]
    try:
        content = files(package).joinpath(INFO_FILENAME).read_bytes()
    except FileNotFoundError:
        message = f"no kernel is staged in `{package}`; {BUILD}"
        raise KernelNotStagedError(message) from None
    try:
        return parse_info(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"`{INFO_FILENAME}` is malformed ({type(error).__name__}: {error}); {REINSTALL}"
        raise KernelCorruptError(message) from None


def parse_info(data: Any) -> KernelInfo:  # noqa: ANN401 - JSON may be anything until it is checked here
    """Return the values of parsed JSON. Raises `ValueError`, `KeyError` or `TypeError` if it is not ours."""
    if data["schema"] != SCHEMA:
        message = f"schema {data['schema']!r}, this package reads {SCHEMA}"
        raise ValueError(message)
    flavours: dict[Flavour, FlavourInfo] = {
        flavour: FlavourInfo(
            file=str(entry["file"]),
            size=int(entry["size"]),
            sha256=str(entry["sha256"]),
            features=tuple(entry["features"]),
        )
        for flavour in FLAVOURS
        for entry in (data["flavours"][flavour],)
    }
    toolchain = data["toolchain"]
    return KernelInfo(
        version=str(data["version"]),
        abi_version=int(data["abi_version"]),
        flavours=MappingProxyType(flavours),
        exports=tuple(
            KernelExport(
                name=entry["name"],
                kind=entry["kind"],
                type=entry["type"],
                since=entry["since"],
                alias=entry.get("alias"),
                flavours=tuple(entry.get("flavours", FLAVOURS)),
            )
            for entry in data["exports"]
        ),
        toolchain=ToolchainInfo(
            origin=toolchain["origin"],
            rustc=toolchain.get("rustc", ""),
            commit=toolchain.get("commit", ""),
            host=toolchain.get("host", ""),
            llvm=toolchain.get("llvm", ""),
            linker=toolchain.get("linker", ""),
            packages=MappingProxyType(dict(toolchain.get("packages", {}))),
            is_release=bool(toolchain["is_release"]),
        ),
        source_sha256=str(data["source_sha256"]),
    )
