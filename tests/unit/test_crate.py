from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ContractError, VersionError
from build_tools.base.project import Project
from build_tools.kernel.crate import read_crate

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "wasm32-unknown-unknown"
SOUND = """
[package]
name = "extism-kernel"
version = "1.2.3"
edition = "2024"

[lib]
crate-type = ["cdylib", "rlib"]

[profile.release]
opt-level = "z"
lto = true
overflow-checks = false
incremental = true
"""


def write(folder: Path, text: str, config: str = "") -> Project:
    (folder / "kernel-src" / ".cargo").mkdir(parents=True)
    (folder / "kernel-src" / "Cargo.toml").write_text(text, encoding="utf-8")
    if config:
        (folder / "kernel-src" / ".cargo" / "config.toml").write_text(config, encoding="utf-8")
    return Project(folder)


def test_crate_of_this_project_is_understood() -> None:
    crate = read_crate(Project(ROOT), target=TARGET)
    assert crate.name == "extism_kernel"
    assert "-Cpanic=abort" in crate.options
    assert "-Cstrip=debuginfo" in crate.options, (
        "Debian's `core` has debug info, and its builder's paths in it"
    )


def test_profile_becomes_options(tmp_path: Path) -> None:
    crate = read_crate(write(tmp_path, SOUND), target=TARGET)
    assert (crate.name, crate.version, crate.edition, crate.root) == (
        "extism_kernel",
        "1.2.3",
        "2024",
        "src/lib.rs",
    )
    assert {"-Copt-level=z", "-Clto=fat", "-Coverflow-checks=no", "-Ccodegen-units=1"} <= set(crate.options)


FLAGS = {
    "list": ('rustflags = ["-Ca=b", "-Cc"]', ("-Ca=b", "-Cc")),
    "text": ('rustflags = "-Ca=b -Cc"', ("-Ca=b", "-Cc")),
    "none": ("", ()),
}


@pytest.mark.parametrize(("line", "flags"), FLAGS.values(), ids=FLAGS)
def test_flags_come_from_the_crates_own_configuration(
    line: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    project = write(tmp_path, SOUND, f"[target.{TARGET}]\n{line}\n")
    assert read_crate(project, target=TARGET).flags == flags


def test_malformed_flags_are_named(tmp_path: Path) -> None:
    project = write(tmp_path, SOUND, f"[target.{TARGET}]\nrustflags = 7\n")
    with pytest.raises(ContractError, match="is 7, should be an array"):
        read_crate(project, target=TARGET)


FAULTS = {
    "dependency": (SOUND + '[dependencies]\nserde = "1"\n', r"`\[dependencies\]` is not empty"),
    "unknown-profile-key": (SOUND + "rpath = true\n", "`profile.release.rpath` is not understood"),
    "no-cdylib": (SOUND.replace('"cdylib", ', ""), "lacks `cdylib`"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_crate_that_one_call_cannot_build_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=message):
        read_crate(write(tmp_path, text), target=TARGET)


def test_build_script_is_refused(tmp_path: Path) -> None:
    project = write(tmp_path, SOUND)
    (project.kernel_src / "build.rs").touch()
    with pytest.raises(ContractError, match=r"there is a `build\.rs`"):
        read_crate(project, target=TARGET)


VERSIONS = {"dev": "1.0.0-dev", "post": "1.0.0.post1", "local": "1.0.0+x", "short": "1.0", "zeros": "01.0.0"}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_refused_versions_are_named(version: str, tmp_path: Path) -> None:
    with pytest.raises(VersionError, match=r"is not of the form `N\.N\.N`"):
        read_crate(write(tmp_path, SOUND.replace("1.2.3", version)), target=TARGET)
