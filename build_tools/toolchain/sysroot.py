"""`core` for wasm32 where a compiler comes without it but with its sources.

Cargo's `-Zbuild-std` would do the same, but wants build scripts, hence a C linker and the host's `std`;
two calls of the compiler need neither, and what they make is an ordinary sysroot.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.inventory import find_damaged, write_inventory
from build_tools.base.process import run
from build_tools.base.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

RECIPE = 1  # raise when the calls below change
COMMON = ("--edition=2024", "--crate-type=rlib", "-Copt-level=3", "-Ccodegen-units=1", "-Cpanic=abort")
# What compiler_builtins' build script sets for wasm32.
BUILTINS_CFG = (
    'feature="compiler-builtins"',
    'feature="mem"',
    'feature="unstable-intrinsics"',
    "intrinsics_enabled",
    "arch_enabled",
    "optimizations_enabled",
)
BUILTINS_ENV = {"CFG_CARGO_FEATURES": "[]", "CFG_OPT_LEVEL": "3", "CFG_TARGET_FEATURES": "[]"}


def find_library(sysroot: Path) -> Path | None:
    """Return the folder of the standard library's sources in a sysroot, or `None`."""
    library = sysroot / "lib/rustlib/src/rust/library"
    return library if (library / "core/src/lib.rs").is_file() else None


def make_sysroot(  # noqa: PLR0913 - the facts of one compiler; all are needed
    cache: Path,
    *,
    rustc: Path,
    identity: str,
    commit: str,
    library: Path,
    target: str,
    flags: tuple[str, ...],
    env: Mapping[str, str],
) -> Path:
    """Return a sysroot with `core` and `compiler_builtins` for `target`, made once per compiler and flags."""
    key = files.sha256_of("\n".join((str(RECIPE), identity, target, *COMMON, *flags)).encode())[:16]
    folder = cache / "sysroots" / key
    if is_whole(folder):
        return folder
    with files.lock(cache / "sysroots" / "lock"):
        if is_whole(folder):
            return folder
        if folder.exists():
            log.warning("warning[sysroot-damaged]: %s; compiling it again", folder)
        files.sweep(cache / "sysroots")
        with (
            files.new_folder(folder) as part,
            Progress("compiling Rust's `core` for wasm32, once") as progress,
        ):
            out = part / "lib/rustlib" / target / "lib"
            out.mkdir(parents=True)
            base: tuple[str | Path, ...] = (
                rustc,
                f"--target={target}",
                *COMMON,
                *flags,
                "--cap-lints=allow",
                f"--remap-path-prefix={library}=/rustc/{commit}/library",
                f"--sysroot={part}",
            )
            core = ("--crate-name=core", f"-o{out / 'libcore.rlib'}", library / "core/src/lib.rs")
            source = library / "compiler-builtins/compiler-builtins/src/lib.rs"
            builtins = ("--crate-name=compiler_builtins", f"-o{out / 'libcompiler_builtins.rlib'}", source)
            cfg = tuple(f"--cfg={name}" for name in BUILTINS_CFG)
            bootstrap = {**env, "RUSTC_BOOTSTRAP": "1"}
            run((*base, *core), cwd=part, env=bootstrap, watch=progress.update)
            run((*base, *cfg, *builtins), cwd=part, env={**bootstrap, **BUILTINS_ENV}, watch=progress.update)
            write_inventory(part)
            files.write_whole(part / "complete", identity.encode())
    return folder


def is_whole(folder: Path) -> bool:
    """Say whether a sysroot was finished, and no file in it is missing or cut since."""
    return (folder / "complete").is_file() and find_damaged(folder) is None
