"""The native twin of the kernel: how it is built, and how the model talks to it."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import BuildToolsError
from build_tools.base.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.project import Project

MODULE = "extism_kernel_native"
PREFIX = "xk_"
UNPACKED = "unpacked"
PROBE_SECONDS = 60


class TwinFaultError(Exception):
    """The kernel panicked: an assertion of its own, an overflow, or an access outside memory."""


def find_obstacle(project: Project, cargo: str | None) -> str | None:
    """Return why the twin cannot be built here, with the remedy, or `None` if it can."""
    if cargo is None:
        return "no `cargo` on PATH; install Rust from https://rustup.rs, or set EXTISM_KERNEL_CARGO"
    if shutil.which("cc") is None:
        return "no `cc` to link with; install a C compiler (`apt-get install gcc libc6-dev`)"
    try:
        run([cargo, "--version"], cwd=project.kernel_src, env=_environment(cargo), timeout=PROBE_SECONDS)
    except BuildToolsError as error:
        return f"`{cargo}` does not run in kernel-src: {error.message}"
    return None


def build_twin(project: Project, cargo: str, folder: Path) -> Path:
    """Return the wheel that maturin makes of the twin, everything inside a folder of its own.

    Raises `ToolFailedError` with cargo's words.
    """
    source = project.root / "tests" / "native"
    target = folder / "target"
    target.mkdir(parents=True)
    shutil.copyfile(source / "header.h", target / "header.h")  # maturin looks there
    maturin = [sys.executable, "-m", "maturin", "build", f"--manifest-path={source / 'Cargo.toml'}"]
    options = ["--release", "--locked", "--offline", "--auditwheel=skip", f"--interpreter={sys.executable}"]
    places = [f"--target-dir={target}", f"--out={folder / 'dist'}"]
    # In the crate's folder, whose rust-toolchain.toml chooses the compiler.
    run([*maturin, *options, *places], cwd=project.kernel_src, env=_environment(cargo))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def _environment(cargo: str) -> dict[str, str]:
    # maturin also asks the compiler beside cargo.
    path = os.pathsep.join([os.path.dirname(cargo), os.environ.get("PATH", os.defpath)])  # noqa: PTH120
    return {"CARGO": cargo, "PATH": path, "RUSTUP_AUTO_INSTALL": "0"}


def unpack_twin(wheel: Path) -> None:
    """Unpack the wheel that `build_twin` made, in the folder that it was given; nothing is installed."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parents[1] / UNPACKED)


def load_twin(built: Path) -> Twin:
    """Return the twin that was built and unpacked in a folder."""
    folder = built / UNPACKED
    sys.path.insert(0, os.fspath(folder))
    try:
        return Twin(importlib.import_module(MODULE))
    finally:
        sys.path.remove(os.fspath(folder))


class Twin:
    """The loaded library. It makes kernels."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - made by cffi, which has no types
        self.lib = module.lib
        self.ffi = module.ffi
        self.names = [name.removeprefix(PREFIX) for name in dir(self.lib)]
        self.functions = {name: getattr(self.lib, PREFIX + name) for name in self.names}

    def instantiate(self, *, pages: int = 65_536, traps: bool = False) -> NativeMachine:
        """Return a kernel in fresh memory that may grow to `pages`; beyond, growth is refused, or traps."""
        return NativeMachine(self, pages, traps=traps)


class NativeMachine:
    """One native kernel, for the model. For one thread at a time."""

    def __init__(self, twin: Twin, pages: int, *, traps: bool) -> None:
        self._lib, self._ffi = twin.lib, twin.ffi
        self._functions = twin.functions
        self._kernel = self._ffi.gc(self._lib.xk_new(pages, traps), self._lib.xk_drop)

    def call(self, name: str, *args: int) -> int:
        """Return what an export returns, 0 for nothing. Raises TwinFaultError if it panics."""
        answer: int | None = self._functions[name](self._kernel, *args)
        if answer:
            return answer
        self._raise_fault()
        return 0

    def read(self, address: int, length: int) -> bytes:
        """Return bytes of memory, as a host reads them."""
        return bytes(self._view(address, length))

    def write(self, address: int, data: bytes) -> None:
        """Write bytes of memory, as a host does."""
        self._view(address, len(data))[:] = data

    def pages(self) -> int:
        """Return the size of memory."""
        return int(self._lib.xk_pages(self._kernel))

    def grow(self, delta: int) -> None:
        """Grow memory, as a host does."""
        if not self._lib.xk_grow(self._kernel, delta):
            raise MemoryError(f"{delta} more pages are beyond the limit")

    def scan(self) -> None:
        """Have the kernel compare all of its state. Raises TwinFaultError that says what disagrees."""
        self._lib.xk_check_invariants(self._kernel)
        self._raise_fault()

    def _view(self, address: int, length: int) -> Any:  # noqa: ANN401 - cffi's
        pointer = self._lib.xk_at(self._kernel, address, length)
        if not pointer:
            raise IndexError(f"[{address}, {address + length}) is outside memory")
        return self._ffi.buffer(pointer, length)

    def _raise_fault(self) -> None:
        words = self._lib.xk_fault(self._kernel)
        if words:
            raise TwinFaultError(self._ffi.string(words).decode())
