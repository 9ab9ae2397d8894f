"""The crate's native tests where there is no cargo: the distribution's compiler, called as cargo would."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.files import make_folder
from build_tools.base.process import run
from build_tools.base.progress import Progress
from build_tools.kernel.crate import read_crate
from build_tools.toolchain import debian
from build_tools.toolchain.pins import read_pins

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTest:
    """One compiled test program: run it in the crate's folder."""

    name: str
    program: Path


def compile_native_tests(project: Project, cache: Path, out: Path) -> list[NativeTest] | str:
    """Return the crate's test programs, or why they cannot be made here.

    Raises `DownloadError` without network and `ToolFailedError` with the compiler's words.
    """
    system = debian.find_system()
    if system is None:
        return "no cargo, and no apt to fetch a compiler with"
    if shutil.which("cc") is None:
        return "no cargo, and no `cc` to link native programs with"
    pins = read_pins(project.toolchain_toml)
    unpacked = debian.fetch(pins, cache, system=system, may_download=True, is_native=True)
    if isinstance(unpacked, str):
        return unpacked
    crate = read_crate(project, target=pins.target)
    make_folder(out)
    env = {
        **unpacked.env,
        "CARGO_MANIFEST_DIR": str(project.kernel_src),
        "CARGO_PKG_VERSION": crate.version,
    }
    rustc = unpacked.root / "usr/bin/rustc"
    common = [str(rustc), f"--edition={crate.edition}", "-Copt-level=1", "-Cdebug-assertions=on"]
    library = out / f"lib{crate.name}.rlib"
    tests = []
    with Progress("compiling the crate's native tests") as progress:

        def compile_one(source: str, target: Path, *options: str) -> None:
            run(
                [*common, *options, f"-o{target}", source],
                cwd=project.kernel_src,
                env=env,
                watch=progress.update,
            )

        compile_one(crate.root, library, f"--crate-name={crate.name}", "--crate-type=rlib")
        compile_one(crate.root, out / "unit", "--test", f"--crate-name={crate.name}")
        tests.append(NativeTest(name="unit tests", program=out / "unit"))
        for path in sorted((project.kernel_src / "tests").glob("*.rs")):
            compile_one(f"tests/{path.name}", out / path.stem, "--test", f"--extern={crate.name}={library}")
            tests.append(NativeTest(name=path.stem, program=out / path.stem))
    return tests
