"""The crate as the compiler needs it: what Cargo.toml and its flags say, checked to be that simple.

The kernel has no dependencies, no build script and one target, so one call of rustc makes it. Cargo would
add the user's configuration, the registry and a folder-dependent metadata hash to what decides the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ContractError
from build_tools.base.project import read_toml
from build_tools.kernel.version import read_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from build_tools.base.project import Project

# Keys of `[profile.release]` and the compiler's option for each.
PROFILE_KEYS = {
    "opt-level": "opt-level",
    "lto": "lto",
    "codegen-units": "codegen-units",
    "panic": "panic",
    "strip": "strip",
    "debug": "debuginfo",
    "overflow-checks": "overflow-checks",
    "debug-assertions": "debug-assertions",
}
IGNORED_KEYS = {"incremental"}
# What makes one small module of it; the manifest may say otherwise.
DEFAULTS: dict[str, object] = {
    "opt-level": 3,
    "lto": "fat",
    "codegen-units": 1,
    "panic": "abort",
    "strip": "symbols",
    "debug": 0,
}
WORDS = {True: "yes", False: "no"}
DEBUG_LEVELS = {True: "2", False: "0"}
STRIP_LEVELS = {True: "symbols", False: "none"}
LTO_KINDS = {True: "fat", False: "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crate:
    """What one call of rustc needs; `root` is relative to the crate's folder."""

    name: str
    version: str
    edition: str
    root: str
    options: tuple[str, ...]
    flags: tuple[str, ...]


def read_crate(project: Project, *, target: str) -> Crate:
    """Return the kernel's crate. Raises `ContractError` if it is not as simple as one call of rustc needs."""
    path = project.cargo_toml
    table = read_toml(path)
    problems: list[str] = [
        f"`[{key}]` is not empty; the kernel depends on nothing"
        for key in ("dependencies", "build-dependencies")
        if table.get(key)
    ]
    if (project.kernel_src / "build.rs").exists():
        problems.append("there is a `build.rs`; the kernel has no build script")
    package = _table(table, "package")
    lib = _table(table, "lib")
    if "cdylib" not in lib.get("crate-type", []):
        problems.append("`lib.crate-type` lacks `cdylib`")
    options = _profile(_table(_table(table, "profile"), "release"), problems)
    if problems:
        raise ContractError(
            problems, where=path, hint="see build_tools/kernel/crate.py for what is understood"
        )
    return Crate(
        name=str(lib.get("name", package.get("name", ""))).replace("-", "_"),
        version=read_version(path),
        edition=str(package.get("edition", "2015")),
        root=str(lib.get("path", "src/lib.rs")),
        options=options,
        flags=_read_flags(project.kernel_src / ".cargo" / "config.toml", target),
    )


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _profile(profile: Mapping[str, Any], problems: list[str]) -> tuple[str, ...]:
    options = []
    for key, value in sorted({**DEFAULTS, **profile}.items()):
        if key in IGNORED_KEYS:
            continue
        if key not in PROFILE_KEYS or isinstance(value, dict):
            problems.append(f"`profile.release.{key}` is not understood")
            continue
        options.append(f"-C{PROFILE_KEYS[key]}={_word(key, value)}")
    return tuple(options)


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        words = {"debug": DEBUG_LEVELS, "strip": STRIP_LEVELS, "lto": LTO_KINDS}.get(key, WORDS)
        return words[value]
    return str(value)


def _read_flags(path: Path, target: str) -> tuple[str, ...]:
    """Return the target's `rustflags` in the crate's own Cargo configuration, or none."""
    if not path.is_file():
        return ()
    flags = _table(_table(read_toml(path), "target"), target).get("rustflags", [])
    if isinstance(flags, str):
        return tuple(flags.split())
    if isinstance(flags, list) and all(isinstance(flag, str) for flag in flags):
        return tuple(flags)
    problem = f"`target.{target}.rustflags` is {flags!r}, should be an array of texts"
    raise ContractError([problem], where=path, hint="write it as an array")
