"""The values that travel between stages: frozen, and each says what has not happened to it yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.findings import Artifact, Finding
    from build_tools.toolchain.values import Toolchain
    from build_tools.wasm.module import Module

Flavour = Literal["context", "core"]
FLAVOURS: tuple[Flavour, ...] = ("context", "core")
FILENAMES: dict[Flavour, str] = {"context": "extism-runtime.wasm", "core": "extism-runtime-core.wasm"}
INFO_FILENAME = "kernel_info.json"
INFO_SCHEMA = 1
# The custom sections that a finished kernel carries (S-7). Every byte of a name counts against C-4.
VERSION_SECTION = "extism"
ABI_SECTION = "extism_abi"
PRODUCERS_SECTION = "producers"
STAMPS = (VERSION_SECTION, ABI_SECTION, PRODUCERS_SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledModule:
    """A kernel as the linker left it: not yet lowered, checked or stamped.

    `toolchain` is `None` for a prebuilt module, whose maker is unknown to us.
    """

    data: bytes
    sha256: str
    version: str
    toolchain: Toolchain | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredModule:
    """A compiled kernel with globals in place of placeholders: not yet checked, not yet stamped."""

    module: Module
    sha256: str
    version: str
    toolchain: Toolchain | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedModule:
    """A lowered kernel that keeps the contract; not yet stamped, so it still lacks the first names."""

    lowered: LoweredModule
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StampedModule:
    """One flavour with both generations of names and its versions inside; not yet on disk.

    `module` is what was parsed of the data, `None` where nothing was: a finished kernel is packaged unread.
    """

    flavour: Flavour
    data: bytes
    sha256: str
    features: tuple[str, ...]
    module: Module | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedKernel:
    """Both flavours and their kernel info, in place and consistent."""

    folder: Path
    version: str
    abi_version: int
    artifacts: tuple[Artifact, ...]
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    toolchain: str = ""
    is_fresh: bool = True
