"""A Rust toolchain from a distribution's packages: fetched as files, unpacked into the user's cache.

Nothing is installed and root is not needed: apt works on folders of our own, its signed index is the trust,
and the digests in `toolchain.toml` say which bytes a release is made with.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import DownloadError, ToolFailedError, ToolNotFoundError
from build_tools.base.inventory import find_damaged, write_inventory
from build_tools.base.process import run
from build_tools.base.progress import Progress
from build_tools.env import apt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.toolchain.pins import Distribution, Package, Pins

log = logging.getLogger(__name__)

OS_RELEASE = Path("/etc/os-release")
COMPLETE = "complete.json"
# So that a full disk is recognised by what tar says.
ENGLISH = {"LC_ALL": "C"}
CAN_FETCH = "its own Rust's packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """Packages in one folder, as if it were the root of a system."""

    root: Path
    library_path: tuple[Path, ...]
    linker: Path
    packages: tuple[tuple[str, str], ...]
    is_pinned: bool

    @property
    def env(self) -> dict[str, str]:
        """The variables that its programs need."""
        return {"LD_LIBRARY_PATH": os.pathsep.join(str(path) for path in self.library_path)}


@dataclass(frozen=True, slots=True)
class System:
    """Which distribution this machine runs."""

    id: str
    codename: str
    arch: str

    def __str__(self) -> str:
        return f"{self.id} {self.codename} ({self.arch})"


def find_system(os_release: Path = OS_RELEASE) -> System | None:
    """Return what this machine runs, or `None` where there is no apt."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and os_release.is_file()):
        return None
    values = dict(
        line.split("=", 1) for line in os_release.read_text(encoding="utf-8").splitlines() if "=" in line
    )
    arch = run(["dpkg", "--print-architecture"], cwd=Path("/")).strip()
    return System(values.get("ID", "").strip('"'), values.get("VERSION_CODENAME", "").strip('"'), arch)


def fetch(
    pins: Pins, cache: Path, *, system: System, may_download: bool, is_native: bool = False
) -> Unpacked | str:
    """Return the unpacked toolchain of this system, or why there is none.

    `is_native` adds what compiles for this machine itself.

    Raises `DownloadError` when the network or the index stands in the way.
    """
    wanted = pins.find(system.id, system.codename, system.arch)
    if wanted is None:
        known = ", ".join(f"{entry.id} {entry.codename} {entry.arch}" for entry in pins.distributions)
        return f"{system}: build_tools/toolchain.toml pins no packages for it (it has {known})"
    store = _Store(cache, wanted, may_download=may_download)
    with apt.lock(cache):
        files.sweep(cache / "toolchains")
        packages = (*wanted.packages, *(wanted.native if is_native else ()))
        was_unpacked = store.is_unpacked(packages)
        found = _unpack(store, packages, is_kept=was_unpacked)
        if isinstance(found, str) and was_unpacked:
            log.warning("warning[toolchain-damaged]: %s; unpacking it again", found)
            store.remove(packages)
            found = _unpack(store, packages, is_kept=False)
    return f"{system}: {found}" if isinstance(found, str) else found


def _unpack(store: _Store, packages: Sequence[Package], *, is_kept: bool) -> Unpacked | str:
    """Return the toolchain with the libraries that this system lacks, or why it does not start.

    A tool that fails is such a reason only where it was unpacked before (`is_kept`), and damaged since.
    """
    unpacked = store.unpack(packages)
    try:
        missing = _find_missing_libraries(unpacked)
        if missing & {package.soname for package in store.wanted.optional}:
            # All of them, since each may want others. They stand in for the system's, which no record names
            # either: kernel info is the same on a machine that has them.
            extra = store.unpack(store.wanted.optional)
            paths = (*unpacked.library_path, *extra.library_path)
            unpacked = dataclasses.replace(unpacked, library_path=paths)
            missing = _find_missing_libraries(unpacked)
    except (ToolFailedError, ToolNotFoundError) as error:
        if not is_kept:
            raise
        return f"what was unpacked in {unpacked.root} does not start ({error.message.splitlines()[0]})"
    if missing:
        return f"the packages need {', '.join(sorted(missing))}, which is not on this system"
    return unpacked


def survey(pins: Pins, cache: Path, *, system: System) -> str:
    """Return what `fetch` would do here, without doing it."""
    wanted = pins.find(system.id, system.codename, system.arch)
    if wanted is None:
        return f"{system}: build_tools/toolchain.toml pins no packages for it"
    store = _Store(cache, wanted, may_download=False)
    if store.is_unpacked(wanted.packages):
        return f"{system}: {CAN_FETCH} are unpacked in {cache}, every file as long as it was"
    size = sum(package.size for package in wanted.packages)
    return f"{system}: {CAN_FETCH} can be fetched ({size / 1e6:.0f} MB) if the network answers, without root"


def _find_missing_libraries(unpacked: Unpacked) -> set[str]:
    """Return the shared libraries that the compiler and the linker ask for and the loader lacks."""
    missing: set[str] = set()
    env = {**unpacked.env, "LD_TRACE_LOADED_OBJECTS": "1"}
    for program in (unpacked.root / "usr/bin/rustc", unpacked.linker):
        listing = run([program], cwd=unpacked.root, env=env)
        missing.update(re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE))
    return missing


class _Store:
    """Downloaded packages (`packages/`) and folders of unpacked ones (`toolchains/`) in the cache."""

    def __init__(self, cache: Path, wanted: Distribution, *, may_download: bool) -> None:
        self.cache = cache
        self.wanted = wanted
        self.may_download = may_download
        self.downloads = cache / "packages"

    def is_unpacked(self, packages: Sequence[Package]) -> bool:
        """Say whether these packages are there, with no file missing or cut."""
        folder = self._folder(packages)
        return _read_complete(folder) is not None and find_damaged(folder) is None

    def remove(self, packages: Sequence[Package]) -> None:
        """Remove the folder of these packages; the packages stay."""
        folder = self._folder(packages)
        with files.guard(folder):
            shutil.rmtree(folder)

    def unpack(self, packages: Sequence[Package]) -> Unpacked:
        """Return a folder with all of `packages` in it, fetching and unpacking what is not there yet."""
        folder = self._folder(packages)
        found = _read_whole(folder)
        if found is None:
            actual = self._download(packages)
            folder = self._folder(actual)
            found = _read_whole(folder)
            if found is None:
                self._extract(actual, folder)
                found = tuple((package.name, package.version) for package in actual)
        pinned = tuple((package.name, package.version) for package in packages)
        libraries = self.wanted.libraries
        return Unpacked(
            root=folder,
            # Some of Debian's libraries still lie in /lib.
            library_path=tuple(folder / name for name in (libraries, libraries.removeprefix("usr/"))),
            linker=folder / self.wanted.linker,
            packages=found,
            is_pinned=found == pinned,
        )

    def _folder(self, packages: Sequence[Package]) -> Path:
        key = "\n".join(f"{package.name} {package.version} {package.sha256}" for package in packages)
        name = f"{self.wanted.id}-{self.wanted.codename}-{files.sha256_of(key.encode())[:16]}"
        return self.cache / "toolchains" / name

    def _path(self, package: Package) -> Path:
        version = package.version.replace(":", "%3a")
        return self.downloads / f"{package.name}_{version}_{package.sha256[:12]}.deb"

    def _download(self, packages: Sequence[Package]) -> list[Package]:
        files.make_folder(self.downloads)
        lacking = [package for package in packages if not self._is_whole(package)]
        if not lacking:
            return list(packages)
        if not self.may_download:
            names = ", ".join(package.name for package in lacking)
            raise DownloadError(
                f"{names} must be downloaded, and `--offline` says not to",
                hint="run once without `--offline`",
            )
        source = apt.Apt(self.cache)
        source.update()
        actual = {package.name: _resolve(source, package) for package in lacking}
        for package in lacking:
            if actual[package.name].sha256 != package.sha256 and package.soname is None:
                log.warning(
                    "warning[toolchain-not-pinned]: %s %s is no longer available; using %s "
                    "(sha256 %s), so this is no release toolchain",
                    package.name,
                    package.version,
                    actual[package.name].version,
                    actual[package.name].sha256,
                )
        missing = [package for package in actual.values() if not self._is_whole(package)]
        total = sum(package.size for package in missing)
        done = 0
        with Progress("downloading the Rust toolchain", total) as progress:
            for package in missing:
                offer = apt.Offer(
                    name=package.name, version=package.version, size=package.size, sha256=package.sha256
                )
                source.download(offer, self._path(package), progress, done)
                done += package.size
                progress.update(done)
        return [actual.get(package.name, package) for package in packages]

    def _is_whole(self, package: Package) -> bool:
        path = self._path(package)
        if not path.is_file():
            return False
        if files.read_digest(path) == package.sha256:
            return True
        log.warning("warning[package-corrupt]: %s is damaged; fetching it again", path.name)
        path.unlink()
        return False

    def _extract(self, packages: Sequence[Package], folder: Path) -> None:
        with files.new_folder(folder) as part, Progress("unpacking the Rust toolchain") as progress:
            for package in packages:
                _extract_one(self._path(package), part, package.only, progress)
            content = json.dumps([[package.name, package.version] for package in packages])
            write_inventory(part)
            files.write_whole(part / COMPLETE, content.encode())


def _resolve(source: apt.Apt, package: Package) -> Package:
    """Return the pinned package, or the one of that name that the distribution has now."""
    offer = source.find(package.name, package.version)
    if offer is None:
        source.check_lists()
        offer = source.find(package.name)
    if offer is not None:
        return dataclasses.replace(package, version=offer.version, sha256=offer.sha256, size=offer.size)
    raise DownloadError(
        f"`{package.name}` is not in the package lists of this system's sources",
        where="/etc/apt",
        hint="install Rust from https://rustup.rs and `rustup target add wasm32-unknown-unknown`",
    )


def _extract_one(archive: Path, folder: Path, only: str | None, progress: Progress) -> None:
    if only is None:
        run(["dpkg-deb", "-x", archive, folder], cwd=folder, env=ENGLISH, watch=progress.update)
        return
    # dpkg-deb unpacks all or nothing; the sources of the compiler itself are most of that package.
    pipe = f'dpkg-deb --fsys-tarfile "$1" | tar -x -f - -C "$2" --wildcards "$3" "{"./usr/lib/*"}"'
    run(
        ["bash", "-o", "pipefail", "-c", pipe, "unpack", archive, folder, only],
        cwd=folder,
        env=ENGLISH,
        watch=progress.update,
    )


def _read_whole(folder: Path) -> tuple[tuple[str, str], ...] | None:
    """Return the packages in a folder, or `None` if it is not complete, or a file in it is missing or cut."""
    found = _read_complete(folder)
    if found is not None and (name := find_damaged(folder)) is not None:
        log.warning("warning[toolchain-damaged]: `%s` in %s is damaged; unpacking it again", name, folder)
        return None
    return found


def _read_complete(folder: Path) -> tuple[tuple[str, str], ...] | None:
    path = folder / COMPLETE
    if not path.is_file():
        return None
    try:
        return tuple((str(name), str(version)) for name, version in json.loads(path.read_bytes()))
    except ValueError:
        return None
