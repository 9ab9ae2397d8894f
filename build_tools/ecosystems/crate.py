"""The crate `extism-kernel-wasm`: its folder, for `cargo publish`, and the `.crate` made of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_tar_gz, parse_tar_gz
from build_tools.base.files import make_folder, read_bounded, write_whole
from build_tools.base.process import run
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

PACKAGED = "target/package"


def make_files(kernel: Kernel) -> list[Member]:
    """Return the crate's folder and its `.crate`, packed by cargo and then normalised.

    Raises ToolNotFoundError without cargo, ToolFailedError if cargo does not accept the crate.
    """
    stem = f"extism-kernel-wasm-{kernel.version}"
    sources = [*kernel.members("src/"), *fill_templates("crate", {"VERSION": kernel.version})]
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
        path = folder / PACKAGED / f"{stem}.crate"
        packed = parse_tar_gz(read_bounded(path), path.name)
    members = sorted(packed, key=lambda member: member.name)
    archive = Member(name=f"{stem}.crate", data=make_tar_gz(members, epoch=kernel.epoch))
    return [archive, *(Member(name=f"{stem}/{member.name}", data=member.data) for member in sources)]
