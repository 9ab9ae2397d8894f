"""The values that travel between stages: frozen, and each says what has not happened to it yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Flavour = Literal["context", "core"]
FLAVOURS: tuple[Flavour, ...] = ("context", "core")
FILENAMES: dict[Flavour, str] = {"context": "extism-runtime.wasm", "core": "extism-runtime-core.wasm"}
INFO_FILENAME = "kernel_info.json"
INFO_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One failed check: a stable code, what is and what should be, and the place."""

    code: str
    message: str
    where: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Rust compiler that was seen to run, and how to make wasm32 with it.

    `origin` says how it was found (`environment`, `rustup`, `path`, `debian`). `sysroot` is `None` when the
    compiler has its own `core` for wasm32. `linker` is `None` when it brings its own. `packages` names what
    was fetched, as (name, version). `is_release` is true when releases are built with exactly this one.
    """

    origin: str
    rustc: Path
    version: str
    commit: str
    host: str
    llvm: str
    linker: Path | None = None
    linker_version: str = "rust-lld"
    sysroot: Path | None = None
    library_path: tuple[Path, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    is_release: bool = False

    def describe(self) -> str:
        """Return one line for a person; no path of this machine, so that it may be recorded."""
        release = "release toolchain" if self.is_release else "not the release toolchain"
        return f"rustc {self.version} ({self.commit[:9]}), LLVM {self.llvm}, from {self.origin}; {release}"


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

    data: bytes
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
    """One flavour with both generations of names and its versions inside; not yet on disk."""

    flavour: Flavour
    data: bytes
    sha256: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that was written whole and whose digest is known."""

    name: str
    path: Path
    size: int
    sha256: str


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
