"""The digests of kernels on record: our releases, the kernel in this package, and all of upstream's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, cast

from extism_kernel_pkg._errors import KernelCorruptError
from extism_kernel_pkg._info import INFO_FILENAME, REINSTALL

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = __name__.split(".", maxsplit=1)[0]
KNOWN_FILENAME = "known_digests.json"
KNOWN_SCHEMA = 1
UPSTREAM_FILENAME = "upstream_digests.json"
UPSTREAM_SCHEMA = 1
VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]{1,60}))?(?:\+[0-9A-Za-z.-]{1,60})?")
DIGEST = re.compile(r"[0-9a-f]{64}")


class Folder(Protocol):
    """Where the records are: `pathlib.Path` or what `importlib.resources.files` returns."""

    def joinpath(self, *descendants: str) -> Any:  # noqa: ANN401 - either of the two
        """Return what is below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKernel:
    """One module of a release of ours, or of the kernel in this package; `toolchain` is empty if unknown."""

    version: str
    flavour: str
    sha256: str
    toolchain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamKernel:
    """One of upstream's: size in bytes, date and revision that brought it, releases that carry it."""

    sha256: str
    size: int
    date: str
    repository: str
    revision: str
    releases: tuple[str, ...]
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKernels:
    """All kernels on record. `newest` is the version that counts as current, None if nothing is known."""

    own: tuple[OwnKernel, ...]
    upstream: tuple[UpstreamKernel, ...]
    newest: str | None
    by_digest: dict[str, OwnKernel | UpstreamKernel] = field(repr=False)


def order(version: str) -> tuple[Any, ...]:
    """Return a key that sorts versions as SemVer does: pre-releases before their release, others first."""
    match = VERSION.fullmatch(version)
    if match is None:
        return ()
    major, minor, patch, pre = match.groups()
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in (pre or "").split(".") if part
    )
    return int(major), int(minor), int(patch), (parts == (), parts)


def is_release(version: str) -> bool:
    """Say whether a version is none before or between releases."""
    match = VERSION.fullmatch(version)
    return match is not None and match[4] is None and "+" not in version


def read_known(folder: Folder | None = None) -> KnownKernels:
    """Return every kernel on record, by default in the installed package.

    The kernel in the package counts as current; where there is none, the newest release, or the newest
    pre-release if there was no release. Raises `KernelCorruptError` if a record is malformed.
    """
    place: Folder = cast("Folder", files(PACKAGE)) if folder is None else folder
    staged = _read(place, (INFO_FILENAME,), _parse_staged)
    released = _read(place, (KNOWN_FILENAME,), parse_releases)
    upstream = _read(place, ("vendored", UPSTREAM_FILENAME), _parse_upstream)
    own = tuple(dict.fromkeys([*staged, *released]))
    versions = {kernel.version for kernel in staged} or {kernel.version for kernel in released}
    versions = {version for version in versions if is_release(version)} or versions
    return KnownKernels(
        own=own,
        upstream=tuple(upstream),
        newest=max(versions, key=order, default=None),
        by_digest={kernel.sha256: kernel for kernel in (*upstream, *reversed(own))},
    )


def _read(folder: Folder, path: tuple[str, ...], parse: Callable[[Any], list[Any]]) -> list[Any]:
    try:
        content = folder.joinpath(*path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return parse(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        detail = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else error
        message = f"`{path[-1]}` is malformed ({detail}); {REINSTALL}, or restore the file with git"
        raise KernelCorruptError(message) from None


def parse_releases(content: Any) -> list[OwnKernel]:  # noqa: ANN401 - JSON is anything until it is read
    """Return the releases in the content of `known_digests.json`; see `_read` for what it raises."""
    _check_schema(content, KNOWN_SCHEMA)
    kernels = []
    for release in content["releases"]:
        for build in (release, *release.get("rebuilds", ())):
            kernels += [
                OwnKernel(
                    version=_text(release["version"]),
                    flavour=_text(flavour),
                    sha256=_digest(sha256),
                    toolchain=_text(build.get("toolchain", "")),
                )
                for flavour, sha256 in build["modules"].items()
            ]
    return kernels


def _parse_staged(content: Any) -> list[OwnKernel]:  # noqa: ANN401
    return [
        OwnKernel(
            version=_text(content["version"]),
            flavour=_text(flavour),
            sha256=_digest(module["sha256"]),
            toolchain=_text(content.get("toolchain", {}).get("rustc", "")),
        )
        for flavour, module in content["flavours"].items()
    ]


def _parse_upstream(content: Any) -> list[UpstreamKernel]:  # noqa: ANN401
    _check_schema(content, UPSTREAM_SCHEMA)
    return [
        UpstreamKernel(
            sha256=_digest(kernel["sha256"]),
            size=int(kernel["size"]),
            date=_text(kernel["date"]),
            repository=_text(kernel["repository"]),
            revision=_text(kernel["revision"]),
            releases=tuple(_text(release) for release in kernel["releases"]),
            is_current=kernel["sha256"] == content["current"],
        )
        for kernel in content["kernels"]
    ]


def _check_schema(content: Any, wanted: int) -> None:  # noqa: ANN401
    if content["schema"] != wanted:
        message = f"`schema` is {content['schema']!r}, should be {wanted}"
        raise ValueError(message)


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} should be a text"
        raise TypeError(message)
    return value


def _digest(value: object) -> str:
    if DIGEST.fullmatch(_text(value)) is None:
        message = f"{value!r} is no digest"
        raise ValueError(message)
    return _text(value)
