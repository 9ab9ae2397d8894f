"""Allocators from crates.io behind the kernel's exports, compiled on demand into the user's cache.

The crate in `allocators/` names them, and its lock file pins them. Nothing else reads it: no build of the
kernel needs the network for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import BuildToolsError, ExitCode
from build_tools.base.process import run
from build_tools.base.project import find_project, read_toml
from build_tools.bench.metered import NamedModule

if TYPE_CHECKING:
    from collections.abc import Iterator

CRATE = Path(__file__).resolve().parent / "allocators"
NAMES = ("dlmalloc", "rlsf", "talc")
"""Features of the crate; each compiles the allocator of that name."""
TARGET = "wasm32-unknown-unknown"
FLAGS = "-Ctarget-cpu=mvp -Ctarget-feature=+bulk-memory -Clink-arg=-zstack-size=65536"
"""One page of stack: the usual sixteen would be counted as memory that the allocator needs."""
SECONDS = 300.0


class AllocatorsError(BuildToolsError):
    """The allocators to compare with could not be compiled."""

    code = "allocators-not-built"
    exit_code = ExitCode.TOOLCHAIN


def build_allocators(cache: Path) -> Iterator[NamedModule]:
    """Yield each allocator as a module with the exports `memory`, `alloc`, `free` and `length`.

    Raises AllocatorsError without cargo, and with cargo's words if it fails, as it does without network.
    """
    cargo = shutil.which("cargo")
    hint = "install Rust (https://rustup.rs) and allow the network, or leave out `--allocators`"
    if cargo is None:
        raise AllocatorsError("`cargo` is not on PATH", hint=hint)
    toolchain = read_toml(find_project().kernel_src / "rust-toolchain.toml")["toolchain"]["channel"]
    target_folder = files.make_folder(cache / "allocators")
    for name in NAMES:
        argv = [cargo, "build", "--quiet", "--locked", "--release", "--target", TARGET, "--features", name]
        env = {
            "CARGO_TARGET_DIR": str(target_folder),
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS": FLAGS,
            "RUSTUP_TOOLCHAIN": str(toolchain),
        }
        try:
            run(argv, cwd=CRATE, env=env, timeout=SECONDS)
        except BuildToolsError as error:
            raise AllocatorsError(f"`{name}` was not compiled: {error.message}", hint=hint) from None
        module = target_folder / TARGET / "release" / "extism_kernel_allocators.wasm"
        yield NamedModule(name=name, data=files.read_bounded(module))
