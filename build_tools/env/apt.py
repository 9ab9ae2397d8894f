"""apt on folders of our own: a distribution's packages as files, without root rights.

Standard library only, and everything that it imports too: the bootstrap may have to fetch pip with it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import DownloadError, ToolFailedError
from build_tools.base.process import run
from build_tools.base.progress import Progress

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

log = logging.getLogger(__name__)

URI_LINE = re.compile(r"'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
# Hooks of the system that need root, or that clean up folders that are not theirs here.
APT_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A package that the distribution has now: its exact version, and what its bytes must be."""

    name: str
    version: str
    size: int
    sha256: str


def lock(cache: Path) -> AbstractContextManager[None]:
    """Hold what is fetched and unpacked in the cache; apt itself would refuse, where this waits."""
    return files.lock(cache / "toolchains" / "lock")


class Apt:
    """apt on folders of its own. Use it only while holding `lock`."""

    def __init__(self, cache: Path) -> None:
        self.folder = folder = cache / "apt"
        self.failure: DownloadError | None = None
        for name in ("lists/partial", "archives/partial", "state"):
            files.make_folder(folder / name)
        files.write_whole(folder / "apt.conf", APT_CONF.encode())
        self.options = [
            f"--config-file={folder / 'apt.conf'}",
            f"-oDir::State={folder / 'state'}",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::State::status={folder / 'status'}",
            f"-oDir::Cache={folder}",
            f"-oDir::Cache::archives={folder / 'archives'}",
            "-oAPT::Sandbox::User=",
            "-oAcquire::Languages=none",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "-oAcquire::Retries=2",
            "-q",
        ]
        with files.guard(folder):
            (folder / "status").touch()

    def run(
        self, *arguments: str, cwd: Path | None = None, watch: Progress | None = None, at: int = 0
    ) -> str:
        """Run `apt-get` on these folders, showing how many bytes came."""

        def look() -> None:
            if watch is not None:
                watch.update(at + _bytes_in(cwd or self.folder))

        return run(
            ["apt-get", *self.options, *arguments],
            cwd=cwd or self.folder,
            env={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            watch=look,
        )

    def update(self) -> None:
        """Fetch the package lists.

        A source that does not answer may have nothing that is wanted: `check_lists` raises what went wrong.
        """
        self.failure = None
        try:
            with Progress("reading the distribution's package lists") as progress:
                said = self.run("update", "-oAPT::Update::Error-Mode=any", watch=progress)
            log.debug("%s", said)
        except ToolFailedError as error:
            self.failure = _no_network("the distribution's package lists", error)

    def check_lists(self) -> None:
        """Raise `DownloadError` if not all lists came, so that nothing follows from what is not in them."""
        if self.failure is not None:
            raise self.failure

    def find(self, name: str, version: str | None = None) -> Offer | None:
        """Return what the lists have of a package, in one version or the newest; `None` if nothing."""
        wanted = name if version is None else f"{name}={version}"
        try:
            match = URI_LINE.search(self.run("download", "--print-uris", wanted))
        except ToolFailedError:
            return None
        if match is None:
            return None
        return Offer(
            name=name,
            version=match["file"].split("_")[1].replace("%3a", ":"),
            size=int(match["size"]),
            sha256=match["sha256"],
        )

    def download(self, offer: Offer, target: Path, progress: Progress, done: int = 0) -> None:
        """Fetch one package to `target`, whole and checked, or raise `DownloadError`."""
        folder = files.make_folder(self.folder / "incoming" / f"{offer.name}-{offer.sha256[:12]}")
        try:
            self.run("download", f"{offer.name}={offer.version}", cwd=folder, watch=progress, at=done)
        except ToolFailedError as error:
            raise _no_network(f"`{offer.name}`", error) from None
        for path in folder.glob("*.deb"):
            digest = files.read_digest(path)
            if digest == offer.sha256:
                with files.guard(target):
                    path.replace(target)
                shutil.rmtree(folder, ignore_errors=True)
                return
            path.unlink()
            raise DownloadError(
                f"`{offer.name}` came with digest {digest}, should be {offer.sha256}",
                hint="run the same command again; if it stays, the mirror is not to be trusted",
            )
        raise DownloadError(f"apt printed nothing and fetched no `{offer.name}`", where=str(folder))


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # apt renames its files as it goes
            total += path.stat().st_size
    return total


def _no_network(what: str, error: ToolFailedError) -> DownloadError:
    lines = [line for line in error.output.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    said = "; ".join(dict.fromkeys(lines[-3:])) or error.message
    return DownloadError(
        f"{what} could not be fetched: {said}",
        hint="check the network and run the same command again; what came whole is kept",
    )
