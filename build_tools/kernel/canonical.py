"""The digests that the current sources give with the pinned compiler, kept in the tree.

Whoever builds the kernel can so say whether the bytes are those that everybody else gets, and if not, why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base import files
from build_tools.base.errors import ContractError
from build_tools.kernel.values import FLAVOURS

if TYPE_CHECKING:
    from pathlib import Path

RECORD_COMMAND = "python -m build_tools kernel --record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """What `kernel-src/canonical.json` says: the sources, the compiler, and a digest for each flavour."""

    source_sha256: str
    rustc: str
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether a kernel is the canonical one, and in one line why it is or is not."""

    is_canonical: bool
    reason: str


def read_canonical(path: Path) -> Canonical:
    """Return the record. Raises `ContractError` if it is missing a digest or is no JSON."""
    try:
        data = json.loads(files.read_bounded(path))
        digests: dict[str, str] = {flavour: str(data["sha256"][flavour]) for flavour in FLAVOURS}
        return Canonical(source_sha256=str(data["source_sha256"]), rustc=str(data["rustc"]), sha256=digests)
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            [f"{type(error).__name__}: {error}"], where=path, hint=f"write it again: `{RECORD_COMMAND}`"
        ) from None


def compare_info(info: dict[str, Any], canonical: Canonical) -> Comparison:
    """Return whether the kernel that `info` (kernel_info.json) describes is the canonical one."""
    found = {flavour: info["flavours"][flavour]["sha256"] for flavour in FLAVOURS}
    if found == canonical.sha256:
        return Comparison(is_canonical=True, reason="the canonical kernel of these sources")
    if info["source_sha256"] != canonical.source_sha256:
        reason = f"other sources than those recorded; after a change run `{RECORD_COMMAND}`"
    elif "rustc" not in info["toolchain"]:
        reason = "a prebuilt module with other bytes than these sources give"
    elif info["toolchain"]["rustc"] != canonical.rustc:
        reason = f"same sources, but rustc {info['toolchain']['rustc']} instead of {canonical.rustc}"
    else:
        reason = f"same sources and rustc {canonical.rustc}, but another build of that compiler"
    return Comparison(is_canonical=False, reason=f"not the canonical kernel: {reason}")


def write_canonical(path: Path, info: dict[str, Any]) -> None:
    """Record the kernel that `info` describes. Raises `ContractError` unless the pinned compiler made it."""
    toolchain = info["toolchain"]
    if not toolchain["is_release"]:
        raise ContractError(
            ["the kernel was not made by the pinned compiler"],
            where=path,
            hint="install what kernel-src/rust-toolchain.toml names: `rustup toolchain install` there",
        )
    record = {
        "source_sha256": info["source_sha256"],
        "rustc": toolchain["rustc"],
        "sha256": {flavour: info["flavours"][flavour]["sha256"] for flavour in FLAVOURS},
    }
    files.write_whole(path, (json.dumps(record, indent=2) + "\n").encode())
