"""What this machine has of what the tools can use, and the exact command for what is missing."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import BuildToolsError
from build_tools.base.process import run
from build_tools.env import pip as installer
from build_tools.env.damage import find_damage
from build_tools.env.environment import find_environment
from build_tools.kernel.compile import find_repair
from build_tools.toolchain import debian
from build_tools.toolchain import find as toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.toolchain.values import Toolchain

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
    """One line of the doctor.

    `state` is `ok` (it was tried), `unchecked` (it may work, and was not tried), `missing` (something cannot
    be done) or `note`.
    """

    name: str
    state: str
    found: str
    fix: str | None = None


def examine(search: toolchain.Search) -> list[Diagnosis]:
    """Return what there is. Downloads nothing and changes nothing."""
    rust = list(_toolchains(search))
    if not can_build(rust) and not may_build(rust):
        found = "no toolchain that can make the kernel"
        fix = toolchain.fix_command(search)
        rust.append(Diagnosis(name="rust", state="missing", found=found, fix=fix))
    return [_python(), _environment(), *rust, *_optional()]


def can_build(diagnoses: list[Diagnosis]) -> bool:
    """Say whether there is a toolchain that was seen to compile for WebAssembly."""
    return any(item.state == "ok" and item.name.startswith("rust: ") for item in diagnoses)


def may_build(diagnoses: list[Diagnosis]) -> bool:
    """Say whether `kernel` would try something that was not tried here, a download for example."""
    return any(item.state == "unchecked" and item.name.startswith("rust: ") for item in diagnoses)


def _environment() -> Diagnosis:
    venv = find_environment(("build",))
    if not venv.exists():
        found = f"none yet; the first command downloads what it needs into {venv}"
        return Diagnosis(name="environment", state="unchecked", found=found)
    damaged = find_damage(venv)
    if damaged is not None:
        fix = f"rm -r {shlex.quote(str(venv))}"
        found = f"`{damaged}` in {venv} is not what was installed"
        return Diagnosis(name="environment", state="missing", found=found, fix=fix)
    return Diagnosis(name="environment", state="ok", found=f"every installed file in {venv} is whole")


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
            fix="install your system's package of pip for it, or use another Python",
        )
    return Diagnosis(name="python", state="ok", found=f"{version} at {sys.executable}")


def _toolchains(search: toolchain.Search) -> Iterator[Diagnosis]:
    for name, candidate in toolchain.candidates():
        try:
            found = candidate(search)
        except BuildToolsError as error:
            yield Diagnosis(name=f"rust: {name}", state="missing", found=error.message, fix=error.hint)
            continue
        if isinstance(found, str):
            if found:
                state = "unchecked" if debian.CAN_FETCH in found else "note"
                yield Diagnosis(name=f"rust: {name}", state=state, found=found)
        else:
            yield _try(f"rust: {name}", found, search.read_pins().target)


def _try(name: str, found: Toolchain, target: str) -> Diagnosis:
    if not found.has_core:
        said = f"{found.describe()}; its `core` for {target} is compiled on the first run"
        return Diagnosis(name=name, state="unchecked", found=said)
    problem = toolchain.try_compiler(found, target)
    if problem is None:
        return Diagnosis(name=name, state="ok", found=found.describe())
    said = f"{found.describe()}; it does not compile: {problem}"
    return Diagnosis(name=name, state="missing", found=said, fix=find_repair(found, target))


def _optional() -> Iterator[Diagnosis]:
    for program, (arguments, purpose, package, formula) in OPTIONAL.items():
        path = shutil.which(program)
        fix = _fix(package, formula)
        if path is None:
            yield Diagnosis(name=program, state="note", found=f"not on PATH; it is for {purpose}", fix=fix)
            continue
        try:
            said = run([path, *arguments], cwd=Path("/"), env=toolchain.RUSTUP_ENV, timeout=PROBE_SECONDS)
        except BuildToolsError as error:
            found = f"{path} does not run: {error.message.splitlines()[-1].strip(' |')}"
            yield Diagnosis(name=program, state="note", found=found, fix=fix)
            continue
        match = VERSION.search(said)
        yield Diagnosis(name=program, state="ok", found=f"{match[0] if match else 'found'} at {path}")


def _fix(package: str, formula: str) -> str:
    if package.startswith("https:"):
        return f"install it from {package}"
    return f"{APT}{package}" if shutil.which("apt-get") else f"brew install {formula}"


def render(diagnoses: list[Diagnosis]) -> str:
    """Return the lines of the doctor, and the verdict."""
    width = max(len(item.name) for item in diagnoses)
    lines = []
    for item in diagnoses:
        first, *rest = item.found.splitlines()
        lines.append(f"{item.state:<11}{item.name:<{width}}  {first}")
        lines += [f"{'':<{width + 13}}{line}" for line in rest]
        if item.fix:
            lines.append(f"{'':<{width + 13}}fix: {item.fix}")
    if can_build(diagnoses):
        lines.append("the kernel can be built here")
    elif may_build(diagnoses):
        lines.append("the kernel can be built here if what is `unchecked` works: it was not tried")
    else:
        lines.append("the kernel cannot be built here")
    return "\n".join(lines)
