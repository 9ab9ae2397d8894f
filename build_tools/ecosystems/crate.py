"""The crate `extism-kernel-wasm`: its folder, for `cargo publish`, and the `.crate` that this uploads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.archive import Member
from build_tools.base.files import make_folder, read_bounded, write_whole
from build_tools.base.process import run
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

PACKAGED = "target/package"


def make_files(kernel: Kernel) -> list[Member]:
    """Return the crate's folder and its `.crate` as cargo packs it.

    `cargo publish` takes no file, it packs the folder anew; so the bytes here are cargo's own, and the same
    cargo uploads just these. Raises ToolNotFoundError without cargo, ToolFailedError if cargo does not accept
    the crate.
    """
    stem = f"extism-kernel-wasm-{kernel.version}"
    modules = [Member(name=f"src/{each.name}", data=each.data) for each in kernel.files]
    sources = [*modules, kernel.license, *fill_templates("crate", kernel)]
    with tempfile.TemporaryDirectory(prefix="extism-kernel-crate-") as name:
        folder = Path(name)
        for member in sources:
            make_folder((folder / member.name).parent)
            write_whole(folder / member.name, member.data)
        run(
            ["cargo", "package", "--offline", "--no-verify", "--allow-dirty", "--quiet"],
            cwd=folder,
            env={"CARGO_TARGET_DIR": str(folder / "target")},
            install="rustup toolchain install stable",
        )
        packed = read_bounded(folder / PACKAGED / f"{stem}.crate")
    return [
        Member(name=f"{stem}.crate", data=packed),
        *(Member(name=f"{stem}/{member.name}", data=member.data) for member in sources),
    ]
