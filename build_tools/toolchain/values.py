"""The values that a search for a toolchain returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Rust compiler that was seen to run, and how to make wasm32 with it.

    `origin` says how it was found (`environment`, `rustup`, `path`, `debian`). `sysroot` is `None` when the
    compiler has its own `core` for wasm32. `linker` is `None` when it brings its own. `packages` names what
    was fetched, as (name, version). `is_release` is true when releases are built with exactly this one.
    `has_core` is false where a survey left it to the next build to compile `core`.
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
    has_core: bool = True

    def describe(self) -> str:
        """Return one line for a person; no path of this machine, so that it may be recorded."""
        release = "release toolchain" if self.is_release else "not the release toolchain"
        return f"rustc {self.version} ({self.commit[:9]}), LLVM {self.llvm}, from {self.origin}; {release}"
