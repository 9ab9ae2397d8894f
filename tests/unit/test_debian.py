"""The distribution's packages, with an apt and a dpkg of our own that work on files of a test."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import DownloadError
from build_tools.base.inventory import INVENTORY
from build_tools.toolchain import debian
from build_tools.toolchain.debian import System
from build_tools.toolchain.pins import Distribution, Package, Pins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeProgram = Callable[[str, str], Path]

SYSTEM = System("debian", "bookworm", "amd64")
RUSTC = b"#!/bin/sh\nexit 0\n"


def package(name: str, content: bytes = RUSTC, version: str = "1:1.0-1") -> Package:
    digest = hashlib.sha256(content).hexdigest()
    return Package(name=name, version=version, size=len(content), sha256=digest)


def pins(*packages: Package, optional: tuple[Package, ...] = ()) -> Pins:
    entry = Distribution(
        id="debian",
        codename="bookworm",
        arch="amd64",
        libraries="usr/lib",
        linker="usr/bin/linker",
        packages=packages,
        native=(),
        optional=optional,
    )
    return Pins(target="wasm32-unknown-unknown", distributions=(entry,))


APT = """
for last; do :; done
name="${last%%=*}"
case "$*" in
*update*)
  echo update >> INDEX/calls
  [ -e INDEX/offline ] && { echo 'E: Could not resolve host' >&2; exit 100; };;
*--print-uris*)
  case "$last" in
    *=*) [ -e "INDEX/$name.new" ] && { echo "E: Version not found" >&2; exit 100; };;
  esac
  [ -e "INDEX/$name.uri" ] || exit 100
  /bin/cat "INDEX/$name.uri";;
*download*)
  echo "download $name" >> INDEX/calls
  [ -e INDEX/broken ] && { echo 'E: Failed to fetch' >&2; exit 100; }
  /bin/cp "INDEX/$name.deb" "./${name}_1.deb";;
esac
exit 0
"""
# A "package" is one script, unpacked as the compiler and as the linker.
DPKG = """
case "$1" in
-x)
  /bin/mkdir -p "$3/usr/bin"
  for at in rustc linker; do /bin/cp "$2" "$3/usr/bin/$at"; /bin/chmod +x "$3/usr/bin/$at"; done;;
esac
"""


@pytest.fixture
def index(make_program: MakeProgram, tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    make_program("apt-get", APT.replace("INDEX", str(folder)))
    make_program("dpkg-deb", DPKG)
    return folder


def offer(index: Path, entry: Package, content: bytes = RUSTC) -> None:
    """Put a package into the index; `content` may differ from what its entry promises."""
    version = entry.version.replace(":", "%3a")
    line = f"'http://x/y.deb' {entry.name}_{version}_amd64.deb {entry.size} SHA256:{entry.sha256}\n"
    (index / f"{entry.name}.uri").write_text(line, encoding="utf-8")
    (index / f"{entry.name}.deb").write_bytes(content)


def calls(index: Path) -> list[str]:
    path = index / "calls"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def fetch(wanted: Pins, cache: Path, *, may_download: bool = True) -> debian.Unpacked:
    found = debian.fetch(wanted, cache, system=SYSTEM, may_download=may_download)
    assert isinstance(found, debian.Unpacked), found
    return found


def test_packages_are_fetched_checked_and_unpacked(index: Path, tmp_path: Path) -> None:
    entry = package("rustc")
    offer(index, entry)
    found = fetch(pins(entry), tmp_path / "cache")
    assert (found.root / "usr/bin/rustc").read_bytes() == RUSTC
    assert found.is_pinned
    assert found.packages == (("rustc", "1:1.0-1"),)


def test_second_run_needs_no_network(index: Path, tmp_path: Path) -> None:
    entry = package("rustc")
    offer(index, entry)
    first = fetch(pins(entry), tmp_path / "cache")
    before = calls(index)
    assert fetch(pins(entry), tmp_path / "cache", may_download=False) == first
    assert calls(index) == before


def test_package_that_came_whole_is_not_fetched_again(index: Path, tmp_path: Path) -> None:
    one, two = package("one"), package("two")
    offer(index, one)
    offer(index, two, b"not the promised bytes")
    with pytest.raises(DownloadError, match="`two` came with digest"):
        fetch(pins(one, two), tmp_path / "cache")
    offer(index, two)
    fetch(pins(one, two), tmp_path / "cache")
    assert calls(index).count("download one") == 1
    assert calls(index).count("download two") == 2


def test_damaged_package_in_the_cache_is_fetched_again(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = package("rustc")
    offer(index, entry)
    cache = tmp_path / "cache"
    fetch(pins(entry), cache)
    (cached,) = (cache / "packages").glob("*.deb")
    cached.write_bytes(b"damaged")
    for folder in (cache / "toolchains").glob("debian-*"):
        (folder / debian.COMPLETE).unlink()
    with caplog.at_level(logging.WARNING):
        fetch(pins(entry), cache)
    assert "is damaged; fetching it again" in caplog.text
    assert cached.read_bytes() == RUSTC


def test_network_away_at_the_lists_is_named(index: Path, tmp_path: Path) -> None:
    (index / "offline").touch()
    with pytest.raises(DownloadError, match="Could not resolve host") as caught:
        fetch(pins(package("rustc")), tmp_path / "cache")
    assert "run the same command again" in caught.value.render()


def test_network_away_in_the_middle_is_named_and_leaves_no_toolchain(index: Path, tmp_path: Path) -> None:
    entry = package("rustc")
    offer(index, entry)
    (index / "broken").touch()
    with pytest.raises(DownloadError, match="`rustc` could not be fetched: E: Failed to fetch"):
        fetch(pins(entry), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "toolchains").glob("*debian*"))
    (index / "broken").unlink()
    assert fetch(pins(entry), tmp_path / "cache").is_pinned


def test_source_that_does_not_answer_stands_in_nobodys_way(index: Path, tmp_path: Path) -> None:
    entry = package("rustc")
    offer(index, entry)
    (index / "offline").touch()
    assert fetch(pins(entry), tmp_path / "cache").is_pinned


def test_lists_that_came_in_part_are_no_reason_for_another_version(index: Path, tmp_path: Path) -> None:
    offer(index, package("rustc", RUSTC + b"# newer\n", "1:1.0-2"), RUSTC + b"# newer\n")
    (index / "rustc.new").touch()
    (index / "offline").touch()
    with pytest.raises(DownloadError, match="Could not resolve host"):
        fetch(pins(package("rustc")), tmp_path / "cache")


@pytest.mark.parametrize("damage", ["", "cut short"], ids=["gone", "cut"])
def test_toolchain_damaged_in_the_cache_is_unpacked_again(
    damage: str, index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = package("rustc")
    offer(index, entry)
    first = fetch(pins(entry), tmp_path / "cache")
    (first.root / INVENTORY).unlink()  # as one of an older run, which only starting it finds out
    rustc = first.root / "usr/bin/rustc"
    rustc.unlink()
    if damage:
        rustc.write_text(damage, encoding="utf-8")
        rustc.chmod(0o755)
    before = calls(index)
    with caplog.at_level(logging.WARNING):
        assert fetch(pins(entry), tmp_path / "cache") == first
    assert "does not start" in caplog.text
    assert rustc.read_bytes() == RUSTC
    assert calls(index) == before


def test_offline_says_what_is_lacking(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="rustc must be downloaded, and `--offline`"):
        fetch(pins(package("rustc")), tmp_path / "cache", may_download=False)
    assert calls(index) == []


def test_replaced_version_is_used_with_a_warning_and_is_no_release(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = package("rustc")
    newer = RUSTC + b"# newer\n"
    offer(index, package("rustc", newer, "1:1.0-2"), newer)
    (index / "rustc.new").touch()
    with caplog.at_level(logging.WARNING):
        found = fetch(pins(entry), tmp_path / "cache")
    assert "this is no release toolchain" in caplog.text
    assert not found.is_pinned
    assert found.packages == (("rustc", "1:1.0-2"),)


def test_package_that_no_list_has_is_named(index: Path, tmp_path: Path) -> None:
    assert index.is_dir()
    with pytest.raises(DownloadError, match="`rustc` is not in the package lists"):
        fetch(pins(package("rustc")), tmp_path / "cache")


def test_system_without_pins_is_told(tmp_path: Path) -> None:
    said = debian.fetch(pins(), tmp_path, system=System("debian", "sarge", "m68k"), may_download=True)
    assert "pins no packages" in str(said)
    assert "pins no packages" in debian.survey(pins(), tmp_path, system=System("debian", "sarge", "m68k"))


def loader_lacks(monkeypatch: pytest.MonkeyPatch, answers: list[set[str]]) -> None:
    monkeypatch.setattr(debian, "_find_missing_libraries", lambda _: answers.pop(0))


def test_missing_library_that_is_not_pinned_is_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = package("rustc")
    offer(index, entry)
    loader_lacks(monkeypatch, [{"libodd.so.1"}])
    said = debian.fetch(pins(entry), tmp_path / "cache", system=SYSTEM, may_download=True)
    assert "need libodd.so.1" in str(said)


def test_missing_library_that_is_pinned_is_fetched_too(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, library = package("rustc"), dataclasses.replace(package("libodd1"), soname="libodd.so.1")
    offer(index, entry)
    offer(index, library)
    loader_lacks(monkeypatch, [set()])
    on_a_full_system = fetch(pins(entry, optional=(library,)), tmp_path / "cache")
    loader_lacks(monkeypatch, [{"libodd.so.1"}, set()])
    found = fetch(pins(entry, optional=(library,)), tmp_path / "cache")
    assert calls(index).count("download libodd1") == 1
    assert len(found.library_path) > len(on_a_full_system.library_path)
    assert found.packages == on_a_full_system.packages == (("rustc", "1:1.0-1"),), "the record is the same"
    assert found.is_pinned


def test_library_that_its_package_does_not_bring_is_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, library = package("rustc"), dataclasses.replace(package("libodd1"), soname="libodd.so.1")
    offer(index, entry)
    offer(index, library)
    loader_lacks(monkeypatch, [{"libodd.so.1"}, {"libodd.so.1"}])
    said = debian.fetch(
        pins(entry, optional=(library,)), tmp_path / "cache", system=SYSTEM, may_download=True
    )
    assert "need libodd.so.1" in str(said)


def test_newer_library_is_no_other_toolchain(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry, library = package("rustc"), dataclasses.replace(package("libodd1"), soname="libodd.so.1")
    newer = RUSTC + b"# newer\n"
    offer(index, entry)
    offer(index, package("libodd1", newer, "1:1.0-2"), newer)
    (index / "libodd1.new").touch()
    loader_lacks(monkeypatch, [{"libodd.so.1"}, set()])
    with caplog.at_level(logging.WARNING):
        found = fetch(pins(entry, optional=(library,)), tmp_path / "cache")
    assert found.is_pinned
    assert "release toolchain" not in caplog.text


def test_survey_says_what_can_be_fetched_and_what_is_there(index: Path, tmp_path: Path) -> None:
    entry = package("rustc")
    cache = tmp_path / "cache"
    assert "can be fetched" in debian.survey(pins(entry), cache, system=SYSTEM)
    offer(index, entry)
    fetch(pins(entry), cache)
    assert "are unpacked in" in debian.survey(pins(entry), cache, system=SYSTEM)


def test_system_without_apt_is_none(make_program: MakeProgram) -> None:
    make_program("nothing", "")
    assert debian.find_system() is None


def test_system_is_read_from_os_release(make_program: MakeProgram, tmp_path: Path) -> None:
    for name in ("apt-get", "dpkg-deb"):
        make_program(name, "")
    make_program("dpkg", "echo amd64")
    path = tmp_path / "os-release"
    path.write_text('ID=debian\nVERSION_CODENAME="bookworm"\n# comment\n', encoding="utf-8")
    assert debian.find_system(path) == SYSTEM
