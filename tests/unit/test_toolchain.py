from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ContractError, DownloadError, ToolchainNotFoundError, ToolchainUnfitError
from build_tools.base.project import find_project
from build_tools.checks import doctor
from build_tools.toolchain import debian
from build_tools.toolchain import find as toolchain
from build_tools.toolchain.debian import System
from build_tools.toolchain.pins import read_pins
from build_tools.toolchain.sysroot import find_library
from build_tools.toolchain.values import Toolchain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeProgram = Callable[[str, str], Path]

TARGET = "wasm32-unknown-unknown"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (toolchain.RUSTC_VARIABLE, toolchain.CARGO_VARIABLE, "CARGO_HOME", "RUSTUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(debian, "find_system", lambda: None)


@pytest.fixture
def search(tmp_path: Path) -> toolchain.Search:
    return toolchain.Search(project=find_project(), cache=tmp_path / "cache", codegen=())


def fake_rustc(sysroot: Path, version: str = "1.90.0") -> str:
    return (
        f'case "$*" in *sysroot*) echo {sysroot};; '
        f"*) printf 'rustc x\\nrelease: {version}\\nhost: h\\ncommit-hash: abcdef0123\\n';"
        " printf 'LLVM version: 19.1\\n';; esac"
    )


def make_sysroot(folder: Path, *, has_target: bool = True, has_linker: bool = True) -> Path:
    libraries = folder / "lib/rustlib" / TARGET / "lib"
    libraries.mkdir(parents=True)
    if has_target:
        (libraries / "libcore-1.rlib").touch()
    if has_linker:
        (folder / "lib/rustlib/h/bin").mkdir(parents=True)
        (folder / "lib/rustlib/h/bin/rust-lld").touch()
    return folder


def test_named_compiler_is_used(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rustc = make_program("my-rustc", fake_rustc(make_sysroot(tmp_path / "sysroot")))
    monkeypatch.setenv(toolchain.RUSTC_VARIABLE, str(rustc))
    found = toolchain.find_toolchain(search)
    assert (found.origin, found.version, found.sysroot) == ("environment", "1.90.0", None)
    assert not found.is_release
    assert "not the release toolchain" in found.describe()


def test_named_compiler_that_is_absent_is_refused(
    search: toolchain.Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toolchain.RUSTC_VARIABLE, "no-such-rustc")
    with pytest.raises(ToolchainUnfitError, match="which is no program"):
        toolchain.find_toolchain(search)


def test_named_compiler_without_the_target_is_refused_not_passed_over(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sysroot = make_sysroot(tmp_path / "sysroot", has_target=False)
    rustc = make_program("my-rustc", fake_rustc(sysroot))
    make_program("rustc", fake_rustc(make_sysroot(tmp_path / "good")))
    monkeypatch.setenv(toolchain.RUSTC_VARIABLE, str(rustc))
    with pytest.raises(ToolchainUnfitError, match="has neither the target"):
        toolchain.find_toolchain(search)


def test_compiler_on_path_is_found(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    make_program("rustc", fake_rustc(make_sysroot(tmp_path / "sysroot")))
    assert toolchain.find_toolchain(search).origin == "path"


def test_compiler_without_a_linker_is_named(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    make_program("rustc", fake_rustc(make_sysroot(tmp_path / "sysroot", has_linker=False)))
    with pytest.raises(ToolchainNotFoundError, match="has no linker for wasm"):
        toolchain.find_toolchain(search)


def test_linker_of_the_same_llvm_is_preferred(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    make_program("rustc", fake_rustc(make_sysroot(tmp_path / "sysroot", has_linker=False)))
    make_program("wasm-ld", "echo LLD 14.0.6")
    wanted = make_program("wasm-ld-19", "echo LLD 19.1.7")
    found = toolchain.find_toolchain(search)
    assert (found.linker, found.linker_version) == (wanted, "LLD 19.1.7")


def test_proxy_without_a_toolchain_is_no_crash(search: toolchain.Search, make_program: MakeProgram) -> None:
    said = "echo 'error: rustup could not choose a version of rustc to run' >&2; exit 1"
    make_program("rustup", said)
    make_program("rustc", said)
    with pytest.raises(ToolchainNotFoundError) as caught:
        toolchain.find_toolchain(search)
    assert len([line for line in caught.value.tried if "could not choose a version" in line]) == 2
    assert f"rustup target add {TARGET}" in str(caught.value.hint)


def test_target_is_asked_of_rustup_once_and_then_passed_over(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    rustc = make_program("real-rustc", fake_rustc(make_sysroot(tmp_path / "sysroot", has_target=False)))
    note = tmp_path / "asked"
    make_program("rustup", f'case "$1" in which) echo {rustc};; *) echo "$*" >> {note}; exit 1;; esac')
    with pytest.raises(ToolchainNotFoundError, match="rustup target add"):
        toolchain.find_toolchain(search)
    assert note.read_text(encoding="utf-8").splitlines() == [
        f"target add --toolchain {toolchain.read_channel(search.project)} {TARGET}"
    ]


def test_target_that_rustup_adds_is_used(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    sysroot = make_sysroot(tmp_path / "sysroot", has_target=False)
    rustc = make_program("real-rustc", fake_rustc(sysroot))
    core = sysroot / "lib/rustlib" / TARGET / "lib/libcore-1.rlib"
    make_program("rustup", f'case "$1" in which) echo {rustc};; *) : > {core};; esac')
    assert toolchain.find_toolchain(search).origin == "rustup"


def test_survey_asks_rustup_for_nothing(
    make_program: MakeProgram, tmp_path: Path, search: toolchain.Search
) -> None:
    rustc = make_program("real-rustc", fake_rustc(make_sysroot(tmp_path / "sysroot", has_target=False)))
    note = tmp_path / "asked"
    make_program("rustup", f'case "$1" in which) echo {rustc};; *) : > {note};; esac')
    survey = toolchain.Search(project=search.project, cache=search.cache, codegen=(), is_survey=True)
    assert "has neither the target" in str(toolchain.try_rustup(survey))
    assert not note.exists()


def test_nothing_anywhere_lists_every_place(search: toolchain.Search, make_program: MakeProgram) -> None:
    make_program("nothing", "")
    with pytest.raises(ToolchainNotFoundError) as caught:
        toolchain.find_toolchain(search)
    assert [line.split(":")[0] for line in caught.value.tried] == ["rustup", "PATH", "distribution"]


def test_network_failure_keeps_the_earlier_reasons(
    search: toolchain.Search, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program("nothing", "")
    monkeypatch.setattr(debian, "find_system", lambda: System("debian", "bookworm", "amd64"))

    def no_network(*_: object, **__: object) -> str:
        raise DownloadError("the package lists could not be fetched")

    monkeypatch.setattr(debian, "fetch", no_network)
    with pytest.raises(DownloadError) as caught:
        toolchain.find_toolchain(search)
    assert "before that: PATH: no `rustc`" in caught.value.render()


def test_sources_are_found_where_rustup_and_debian_put_them(tmp_path: Path) -> None:
    assert find_library(tmp_path) is None
    (tmp_path / "lib/rustlib/src/rust/library/core/src").mkdir(parents=True)
    (tmp_path / "lib/rustlib/src/rust/library/core/src/lib.rs").touch()
    assert find_library(tmp_path) == tmp_path / "lib/rustlib/src/rust/library"


def test_pins_of_this_project_are_whole() -> None:
    pins = read_pins(find_project().toolchain_toml)
    assert pins.target == TARGET
    assert pins.find("debian", "bookworm", "amd64") is not None
    assert pins.find("plan9", "", "") is None


PINS = """
[rust]
target = "t"
[[distribution]]
id = "d"
codename = "c"
arch = "a"
libraries = "l"
linker = "k"
library = []
native = []
package = [{ name = "n", version = "1", size = 1, sha256 = "xyz" }]
"""
PIN_FAULTS = {
    "missing": ("", "missing or malformed: 'rust'"),
    "digest": (PINS, "`n`: sha256 is `xyz`"),
    "unknown-key": (PINS.replace("size", "colour"), "missing or malformed"),
}


@pytest.mark.parametrize(("text", "message"), PIN_FAULTS.values(), ids=PIN_FAULTS)
def test_malformed_pins_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "toolchain.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=message):
        read_pins(path)


def test_description_names_no_path(tmp_path: Path) -> None:
    made = Toolchain(origin="path", rustc=tmp_path, version="1", commit="c" * 40, host="h", llvm="2")
    assert str(tmp_path) not in made.describe()


def test_compiler_older_than_the_crate_allows_is_passed_over(
    search: toolchain.Search, make_program: MakeProgram, tmp_path: Path
) -> None:
    assert toolchain.read_oldest(search.project) == "1.85"
    for version, is_old in (
        ("1.63.0", True),
        ("1.84.1", True),
        ("1.85.0", False),
        ("1.100.0-nightly", False),
    ):
        make_program("rustc", fake_rustc(make_sysroot(tmp_path / version), version))
        found = toolchain.try_path(search)
        assert isinstance(found, str) == is_old, version
        if is_old:
            assert found == f"rustc {version} is older than 1.85, which the crate needs"


def test_machine_without_any_compiler_is_told_both_ways(
    search: toolchain.Search, make_program: MakeProgram
) -> None:
    make_program("nothing", "")
    assert "sudo" not in toolchain.fix_command(search)
    make_program("apt-get", "")
    with pytest.raises(ToolchainNotFoundError) as caught:
        toolchain.find_toolchain(search)
    assert "https://rustup.rs" in str(caught.value.hint)
    assert "`sudo apt-get install rustc libstd-rust-dev-wasm32 lld`" in str(caught.value.hint)
    rust = next(item for item in doctor.examine(search) if item.name == "rust")
    assert (rust.state, rust.fix) == ("missing", toolchain.fix_command(search))
