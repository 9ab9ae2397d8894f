"""Finding a Rust that can make wasm32: the one named, rustup's, any on PATH, the distribution's packages."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import (
    BuildToolsError,
    DownloadError,
    ToolchainNotFoundError,
    ToolchainUnfitError,
    ToolFailedError,
    ToolNotFoundError,
)
from build_tools.base.process import run
from build_tools.base.project import read_toml
from build_tools.toolchain import debian
from build_tools.toolchain.pins import read_pins
from build_tools.toolchain.sysroot import find_library, make_sysroot
from build_tools.toolchain.values import Toolchain

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.base.project import Project
    from build_tools.toolchain.pins import Pins

log = logging.getLogger(__name__)

RUSTC_VARIABLE = "EXTISM_KERNEL_RUSTC"
CARGO_VARIABLE = "EXTISM_KERNEL_CARGO"
PROBE_SECONDS = 60
TARGET_ADD_SECONDS = 120
EMPTY_CRATE = """\
#![no_std]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
"""
# A probe must not make rustup install anything by itself.
RUSTUP_ENV = {"RUSTUP_AUTO_INSTALL": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search for a toolchain may use. `codegen` are the flags that `core` must be compiled with.

    A survey looks and changes nothing: nothing is downloaded, added or compiled. `route` limits the search
    to one of the places that `candidates` names.
    """

    project: Project
    cache: Path
    codegen: tuple[str, ...]
    may_download: bool = True
    is_survey: bool = False
    route: str | None = None

    def read_pins(self) -> Pins:
        """Return the pinned toolchains."""
        return read_pins(self.project.toolchain_toml)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """What `rustc` says about itself."""

    rustc: Path
    identity: str
    version: str
    commit: str
    host: str
    llvm: str
    sysroot: Path


Candidate = tuple[str, "Callable[[Search], Toolchain | str]"]


def find_toolchain(search: Search) -> Toolchain:
    """Return the first toolchain that can make the kernel.

    Raises `ToolchainUnfitError` if the one named by EXTISM_KERNEL_RUSTC cannot, `DownloadError` if the last
    hope was the network, and `ToolchainNotFoundError` with every reason otherwise.
    """
    tried: list[str] = []
    for name, candidate in candidates():
        if search.route not in {None, name}:
            continue
        try:
            found = candidate(search)
        except DownloadError as error:
            if tried:
                error.message += "".join(f"\n  - before that: {line}" for line in tried)
            raise
        if isinstance(found, Toolchain):
            return found
        if found:
            log.debug("%s: %s", name, found)
            tried.append(f"{name}: {found}")
    raise ToolchainNotFoundError(tried, hint=f"{fix_command(search)}; or name a compiler in {RUSTC_VARIABLE}")


def fix_command(search: Search) -> str:
    """Return what to run where no toolchain was found, with root rights or without."""
    rustup = f"install Rust from https://rustup.rs and run `rustup target add {search.read_pins().target}`"
    if shutil.which("apt-get") is None:
        return rustup
    return f"{rustup} (neither needs root), or run `sudo apt-get install rustc libstd-rust-dev-wasm32 lld`"


def candidates() -> tuple[Candidate, ...]:
    """Return the places to look, best first."""
    return (
        (RUSTC_VARIABLE, try_environment),
        ("rustup", try_rustup),
        ("PATH", try_path),
        ("distribution", try_distribution),
    )


def try_environment(search: Search) -> Toolchain | str:
    """Return the compiler that the user named; it is used or refused, never passed over."""
    named = os.environ.get(RUSTC_VARIABLE)
    if not named:
        return ""
    path = shutil.which(named)
    if path is None:
        raise ToolchainUnfitError(
            f"{RUSTC_VARIABLE} is `{named}`, which is no program",
            hint=f"name a rustc, or unset {RUSTC_VARIABLE}",
        )
    found = _fit(search, Path(path), origin="environment")
    if isinstance(found, str):
        raise ToolchainUnfitError(
            f"{RUSTC_VARIABLE} names `{path}`: {found}",
            hint=f"name a rustc that has the target, or unset {RUSTC_VARIABLE}",
        )
    return found


def try_rustup(search: Search) -> Toolchain | str:
    """Return the toolchain that `kernel-src/rust-toolchain.toml` pins, or rustup's default."""
    rustup = find_rustup()
    if rustup is None:
        return "not on PATH"
    channel = read_channel(search.project)
    chosen = ["--toolchain", channel] if channel else []
    try:
        path = _probe([rustup, "which", *chosen, "rustc"])
    except BuildToolsError as error:
        return _first_line(error)
    return _fit(search, Path(path), origin="rustup", rustup=(rustup, channel))


def try_path(search: Search) -> Toolchain | str:
    """Return the `rustc` on PATH, seen through rustup's proxy to the real one."""
    path = shutil.which("rustc")
    if path is None:
        return "no `rustc`"
    return _fit(search, Path(path), origin="path")


def try_distribution(search: Search) -> Toolchain | str:
    """Return the distribution's own Rust, unpacked into the user's cache."""
    system = debian.find_system()
    if system is None:
        return "no apt here, so no packages to unpack"
    pins = search.read_pins()
    if search.is_survey:
        return debian.survey(pins, search.cache, system=system)
    unpacked = debian.fetch(pins, search.cache, system=system, may_download=search.may_download)
    if isinstance(unpacked, str):
        return unpacked
    return _fit(
        search,
        unpacked.root / "usr/bin/rustc",
        origin=f"{system.id} {system.codename} packages",
        unpacked=unpacked,
    )


def find_rustup() -> str | None:
    """Return the path of rustup, also where only its usual folder has it."""
    home = os.environ.get("CARGO_HOME") or str(Path(os.environ.get("HOME") or "/nonexistent") / ".cargo")
    return shutil.which("rustup") or shutil.which(str(Path(home) / "bin" / "rustup"))


def read_channel(project: Project) -> str | None:
    """Return the toolchain that the crate pins for rustup, or `None`."""
    path = project.kernel_src / "rust-toolchain.toml"
    if not path.is_file():
        return None
    table = read_toml(path).get("toolchain")
    channel = table.get("channel") if isinstance(table, dict) else None
    return channel if isinstance(channel, str) else None


def read_oldest(project: Project) -> str:
    """Return the oldest compiler that the crate says it can be made with."""
    package = read_toml(project.cargo_toml).get("package")
    oldest = package.get("rust-version") if isinstance(package, dict) else None
    return oldest if isinstance(oldest, str) else "0"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _fit(
    search: Search,
    rustc: Path,
    *,
    origin: str,
    rustup: tuple[str, str | None] | None = None,
    unpacked: debian.Unpacked | None = None,
) -> Toolchain | str:
    """Return a toolchain around `rustc`, or why it cannot make the kernel."""
    env = {} if unpacked is None else unpacked.env
    try:
        compiler = _ask(rustc, env)
    except BuildToolsError as error:
        return _first_line(error)
    proper = compiler.sysroot / "bin" / "rustc"
    if proper.is_file():
        rustc = proper  # seen through a proxy, which would choose again in the crate's folder
    oldest = read_oldest(search.project)
    if _numbers(compiler.version) < _numbers(oldest):
        return f"rustc {compiler.version} is older than {oldest}, which the crate needs"
    target = search.read_pins().target
    has_target = any((compiler.sysroot / "lib/rustlib" / target / "lib").glob("libcore-*.rlib"))
    if not has_target and rustup is not None and search.may_download and not search.is_survey:
        has_target = _add_target(rustup, compiler, target)
    library = find_library(compiler.sysroot)
    if not has_target and library is None:
        is_rustups = rustup is not None or "rustup" in str(rustc)
        add = f"`rustup target add {target}`" if is_rustups else "your system's package of it"
        return f"rustc {compiler.version} has neither the target {target} nor Rust's sources; get it by {add}"
    linker = unpacked.linker if unpacked else _find_linker(compiler)
    if linker is None and not _has_rust_lld(compiler):
        return f"rustc {compiler.version} has no linker for wasm (`rust-lld` or `wasm-ld`); install lld"
    sysroot = None
    if not has_target and library is not None and not search.is_survey:
        sysroot = make_sysroot(
            search.cache,
            rustc=rustc,
            identity=compiler.identity,
            commit=compiler.commit,
            library=library,
            target=target,
            flags=search.codegen,
            env=env,
        )
    is_pinned = unpacked.is_pinned if unpacked else compiler.version == read_channel(search.project)
    return Toolchain(
        origin=origin,
        rustc=rustc,
        version=compiler.version,
        commit=compiler.commit,
        host=compiler.host,
        llvm=compiler.llvm,
        linker=linker,
        linker_version=_linker_version(linker, env),
        sysroot=sysroot,
        library_path=unpacked.library_path if unpacked else (),
        packages=unpacked.packages if unpacked else (),
        is_release=is_pinned,
        has_core=has_target or sysroot is not None,
    )


def try_compiler(toolchain: Toolchain, target: str) -> str | None:
    """Compile and link an empty crate for `target`; return what went wrong in one line, or `None`.

    A compiler that answers may still have a damaged library. One whose `core` was not compiled yet
    (`Toolchain.sysroot`) cannot be tried: it says that `core` is missing.
    """
    with tempfile.TemporaryDirectory(prefix="extism-kernel-") as name:
        folder = Path(name)
        (folder / "empty.rs").write_text(EMPTY_CRATE, encoding="utf-8")
        argv: list[str | Path] = [
            toolchain.rustc,
            "--crate-type=cdylib",
            f"--target={target}",
            "-Cpanic=abort",
            "empty.rs",
        ]
        argv += [f"-Clinker={toolchain.linker}"] if toolchain.linker else []
        argv += [f"--sysroot={toolchain.sysroot}"] if toolchain.sysroot else []
        paths = os.pathsep.join(str(path) for path in toolchain.library_path)
        try:
            run(
                argv,
                cwd=folder,
                env={**RUSTUP_ENV, **({"LD_LIBRARY_PATH": paths} if paths else {})},
                timeout=PROBE_SECONDS,
            )
        except BuildToolsError as error:
            return _first_line(error)
    return None


def _ask(rustc: Path, env: dict[str, str]) -> Compiler:
    said = _probe([rustc, "-vV"], env)
    fields = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    return Compiler(
        rustc=rustc,
        identity=said,
        version=fields.get("release", "unknown"),
        commit=fields.get("commit-hash", "unknown"),
        host=fields.get("host", "unknown"),
        llvm=fields.get("LLVM version", "unknown"),
        sysroot=Path(_probe([rustc, "--print", "sysroot"], env)),
    )


def _probe(argv: list[str | Path], env: dict[str, str] | None = None) -> str:
    # From a folder without rust-toolchain.toml, so that a proxy answers for what it was asked.
    with tempfile.TemporaryDirectory(prefix="extism-kernel-") as folder:
        return run(argv, cwd=Path(folder), env={**RUSTUP_ENV, **(env or {})}, timeout=PROBE_SECONDS).strip()


def _add_target(rustup: tuple[str, str | None], compiler: Compiler, target: str) -> bool:
    program, channel = rustup
    chosen = ["--toolchain", channel] if channel else []
    log.info("rustc %s lacks the target %s; asking rustup to add it", compiler.version, target)
    try:
        run([program, "target", "add", *chosen, target], cwd=compiler.sysroot, timeout=TARGET_ADD_SECONDS)
    except BuildToolsError as error:
        log.info("rustup could not add it (%s)", _first_line(error))
        return False
    return any((compiler.sysroot / "lib/rustlib" / target / "lib").glob("libcore-*.rlib"))


def _has_rust_lld(compiler: Compiler) -> bool:
    return (compiler.sysroot / "lib/rustlib" / compiler.host / "bin" / "rust-lld").is_file()


def _find_linker(compiler: Compiler) -> Path | None:
    """Return `wasm-ld` from PATH if the compiler does not bring `rust-lld`; the same LLVM is preferred."""
    if _has_rust_lld(compiler):
        return None
    major = compiler.llvm.split(".")[0]
    for name in (f"wasm-ld-{major}", "wasm-ld"):
        path = shutil.which(name)
        if path is not None:
            return Path(path)
    return None


def _linker_version(linker: Path | None, env: dict[str, str]) -> str:
    if linker is None:
        return "rust-lld"
    try:
        said = _probe([linker, "--version"], env)
    except (ToolFailedError, ToolNotFoundError):
        return "unknown"
    match = re.search(r"\d+\.\d+\.\d+", said)
    return f"LLD {match[0]}" if match else "unknown"


def _first_line(error: BuildToolsError) -> str:
    if isinstance(error, ToolFailedError):
        lines = [line.strip() for line in error.output.splitlines() if line.strip()]
        if lines:
            return lines[0].removeprefix("error: ")
    return error.message.splitlines()[0]
