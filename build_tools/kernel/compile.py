"""The crate to one raw module, the same bytes in any folder."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import ToolFailedError
from build_tools.base.process import run
from build_tools.base.progress import Progress
from build_tools.kernel.values import CompiledModule

if TYPE_CHECKING:
    from build_tools.base.project import Project
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.crate import Crate
    from build_tools.toolchain.values import Toolchain

# Our names of features and LLVM's.
LLVM_FEATURES = {
    "mutable-globals": "mutable-globals",
    "sign-extension": "sign-ext",
    "bulk-memory": "bulk-memory",
    "nontrapping-fptoint": "nontrapping-fptoint",
    "multi-value": "multivalue",
    "tail-call": "tail-call",
}


# How rustc and the linker speak of the compiler's own libraries.
DAMAGE = re.compile(
    r"crate `(core|compiler_builtins)`|lib(core|compiler_builtins)[-.]|internal compiler error"
)


def codegen_flags(abi: Abi) -> tuple[str, ...]:
    """Return the flags that keep the compiler to the features that the core flavour may use."""
    features = ",".join(f"+{LLVM_FEATURES[name]}" for name in abi.features["core"] if name in LLVM_FEATURES)
    return ("-Ctarget-cpu=mvp", *((f"-Ctarget-feature={features}",) if features else ()))


def compile_kernel(
    project: Project, crate: Crate, abi: Abi, toolchain: Toolchain, *, target: str
) -> CompiledModule:
    """Return the module that the toolchain makes of the crate. Raises `ToolFailedError` with its words."""
    with tempfile.TemporaryDirectory(prefix="extism-kernel-") as folder:
        out = Path(folder) / "kernel.wasm"
        argv = [
            toolchain.rustc,
            f"--crate-name={crate.name}",
            f"--edition={crate.edition}",
            "--crate-type=cdylib",
            f"--target={target}",
            *crate.options,
            *codegen_flags(abi),
            *crate.flags,
            f"--remap-path-prefix={project.kernel_src}=kernel-src",
            f"--remap-path-prefix={folder}=out",
            *((f"--sysroot={toolchain.sysroot}",) if toolchain.sysroot else ()),
            *((f"-Clinker={toolchain.linker}",) if toolchain.linker else ()),
            f"-o{out}",
            crate.root,
        ]
        with Progress("compiling the kernel") as progress:
            env = _environment(crate, toolchain)
            try:
                run(argv, cwd=project.kernel_src, env=env, watch=progress.update)
            except ToolFailedError as error:
                if DAMAGE.search(error.output):  # in its own libraries, not in ours
                    error.hint = f"the toolchain may be damaged: {find_repair(toolchain, target)}"
                raise
        data = files.read_bounded(out)
    return CompiledModule(data=data, sha256=files.sha256_of(data), version=crate.version, toolchain=toolchain)


def find_repair(toolchain: Toolchain, target: str) -> str:
    """Return the command that installs a toolchain anew."""
    if toolchain.origin == "rustup":
        version = toolchain.version
        return (
            f"`rustup toolchain uninstall {version} && "
            f"rustup toolchain install {version} --profile minimal --target {target}`"
        )
    if toolchain.library_path:  # it was unpacked by us, and will be again
        return f"`rm -r {shlex.quote(str(toolchain.rustc.parents[2]))}`, and run the same command again"
    return f"install `{toolchain.rustc}` again"


def _environment(crate: Crate, toolchain: Toolchain) -> dict[str, str]:
    numbers = crate.version.split("-")[0].split(".")
    env = {
        "CARGO_PKG_NAME": crate.name.replace("_", "-"),
        "CARGO_PKG_VERSION": crate.version,
        "CARGO_PKG_VERSION_MAJOR": numbers[0],
        "CARGO_PKG_VERSION_MINOR": numbers[1],
        "CARGO_PKG_VERSION_PATCH": numbers[2],
    }
    if toolchain.library_path:
        env["LD_LIBRARY_PATH"] = os.pathsep.join(str(path) for path in toolchain.library_path)
    return env
