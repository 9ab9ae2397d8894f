"""One kernel from unrelated builds of the pinned compiler: equal bytes mean that neither put anything in."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import BuildToolsError, ToolchainNotFoundError
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.stage import describe_toolchain
from build_tools.kernel.values import FLAVOURS, INFO_FILENAME
from build_tools.toolchain.find import RUSTC_VARIABLE, candidates

if TYPE_CHECKING:
    from build_tools.base.project import Project

log = logging.getLogger(__name__)

LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The kernel that one route to a compiler gave; `sha256` has a digest for each flavour.

    `is_pinned` is false for a compiler of another version, whose bytes are shown and not compared.
    """

    route: str
    toolchain: str
    rustc: str
    is_pinned: bool
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A route that this machine does not have, and why."""

    route: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What every route gave."""

    made: tuple[Made, ...]
    missing: tuple[Missing, ...]

    @property
    def is_equal(self) -> bool:
        """Whether all builds of the pinned compiler gave the same bytes in both flavours."""
        pinned = [each.sha256 for each in self.made if each.is_pinned]
        return all(each == pinned[0] for each in pinned)


def compare_toolchains(project: Project, cache: Path, *, may_download: bool = True) -> Witnesses:
    """Make the kernel once by each route and return the digests.

    Raises `ToolchainNotFoundError` if fewer than two of them lead to the pinned compiler: one build of it
    vouches for nothing.
    """
    made: list[Made] = []
    missing: list[Missing] = []
    for route, _ in candidates():
        if route == RUSTC_VARIABLE and not os.environ.get(RUSTC_VARIABLE):
            continue
        try:
            made.append(_make(project, cache, route, may_download=may_download))
        except BuildToolsError as error:
            missing.append(Missing(route=route, reason=error.message.replace("\n", " ")))
    if sum(each.is_pinned for each in made) < LEAST:
        lines = [f"{each.route}: {each.reason}" for each in missing]
        lines += [f"{each.route}: rustc {each.rustc}" for each in made]
        raise ToolchainNotFoundError(
            lines, hint="have rustup with the pinned Rust, on a Debian whose packages are pinned"
        )
    return Witnesses(made=tuple(made), missing=tuple(missing))


def _make(project: Project, cache: Path, route: str, *, may_download: bool) -> Made:
    with tempfile.TemporaryDirectory(prefix="extism-kernel-") as folder:
        out = Path(folder)
        request = Request(
            project=project, cache=cache, out=out, is_forced=True, may_download=may_download, route=route
        )
        make_kernel(request)
        info = json.loads(files.read_bounded(out / INFO_FILENAME))
    return Made(
        route=route,
        toolchain=describe_toolchain(info["toolchain"]),
        rustc=info["toolchain"]["rustc"],
        is_pinned=info["toolchain"]["is_release"],
        sha256={flavour: info["flavours"][flavour]["sha256"] for flavour in FLAVOURS},
    )
