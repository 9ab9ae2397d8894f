"""What this machine has of what the tools can use, and the exact command that mends what is missing."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import BuildToolsError
from build_tools.base.process import run
from build_tools.env import pip as installer
from build_tools.toolchain import debian
from build_tools.toolchain import find as toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE_SECONDS = 30
APT = "sudo apt-get install "
VERSION = re.compile(r"\d+(?:\.\d+)+")
# program -> (arguments that print its version, what it is for, package of apt, package of Homebrew)
OPTIONAL = {
    "cargo": (
        ("--version",),
        "formatting, lints and native tests of the crate, and its native twin",
        "https://rustup.rs",
        "",
    ),
    "node": (("--version",), "tests of the kernel in Node", "nodejs", "node"),
    "cc": (
        ("--version",),
        "linking native tests, and building pywasm3 for tests of the core flavour in wasm3",
        "gcc libc6-dev",
        "gcc",
    ),
    "git": (("--version",), "the commit in provenance, and `publish`", "git", "git"),
    "go": (("version",), "the wazero adapter of the conformance suite", "golang", "go"),
    "java": (("-version",), "the Chicory adapter of the conformance suite", "default-jdk", "openjdk"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One line of the doctor: `state` is `ok`, `missing` (something cannot be done) or `note`."""

    name: str
    state: str
    found: str
    mend: str | None = None


def examine(search: toolchain.Search) -> list[Diagnosis]:
    """Return what there is. Downloads nothing and changes nothing."""
    rust = list(_toolchains(search))
    if not can_build(rust):
        found = "no toolchain that can make the kernel"
        mend = toolchain.mend_command(search)
        rust.append(Diagnosis(name="rust", state="missing", found=found, mend=mend))
    return [_python(), *rust, *_optional()]


def can_build(diagnoses: list[Diagnosis]) -> bool:
    """Say whether `kernel` would find or fetch a toolchain."""
    return any(item.state == "ok" and item.name.startswith("rust: ") for item in diagnoses)


def _python() -> Diagnosis:
    version = sys.version.split()[0]
    if not installer.has_ensurepip():
        if installer.can_fetch():
            found = f"{version} without ensurepip: pip comes from {installer.PACKAGE}, no root needed"
            return Diagnosis(name="python", state="ok", found=found)
        return Diagnosis(
            name="python",
            state="missing",
            found=f"{version} without ensurepip: no environment can be made",
            mend="install your system's package of pip for it, or use another Python",
        )
    return Diagnosis(name="python", state="ok", found=f"{version} at {sys.executable}")


def _toolchains(search: toolchain.Search) -> Iterator[Diagnosis]:
    for name, candidate in toolchain.candidates():
        try:
            found = candidate(search)
        except BuildToolsError as error:
            yield Diagnosis(name=f"rust: {name}", state="missing", found=error.message, mend=error.hint)
            continue
        if isinstance(found, str):
            if found:
                state = "ok" if debian.CAN_FETCH in found else "note"
                yield Diagnosis(name=f"rust: {name}", state=state, found=found)
        else:
            yield Diagnosis(name=f"rust: {name}", state="ok", found=found.describe())


def _optional() -> Iterator[Diagnosis]:
    for program, (arguments, purpose, package, formula) in OPTIONAL.items():
        path = shutil.which(program)
        mend = _mend(package, formula)
        if path is None:
            yield Diagnosis(name=program, state="note", found=f"not on PATH; it is for {purpose}", mend=mend)
            continue
        try:
            said = run([path, *arguments], cwd=Path("/"), env=toolchain.RUSTUP_ENV, timeout=PROBE_SECONDS)
        except BuildToolsError as error:
            found = f"{path} does not run: {error.message.splitlines()[-1].strip(' |')}"
            yield Diagnosis(name=program, state="note", found=found, mend=mend)
            continue
        match = VERSION.search(said)
        yield Diagnosis(name=program, state="ok", found=f"{match[0] if match else 'found'} at {path}")


def _mend(package: str, formula: str) -> str:
    if package.startswith("https:"):
        return f"install it from {package}"
    return f"{APT}{package}" if shutil.which("apt-get") else f"brew install {formula}"


def render(diagnoses: list[Diagnosis]) -> str:
    """Return the lines of the doctor, and the verdict."""
    width = max(len(item.name) for item in diagnoses)
    lines = []
    for item in diagnoses:
        first, *rest = item.found.splitlines()
        lines.append(f"{item.state:<8}{item.name:<{width}}  {first}")
        lines += [f"{'':<{width + 10}}{line}" for line in rest]
        if item.mend:
            lines.append(f"{'':<{width + 10}}mend: {item.mend}")
    able = can_build(diagnoses)
    lines.append("the kernel can be built here" if able else "the kernel cannot be built here")
    return "\n".join(lines)
