"""A kernel that was made before: both modules with their kernel info, of these very sources.

It is taken by digest, without a look inside, so that packaging it needs neither a compiler nor a library that
reads WebAssembly. Where those libraries are, the pipeline validates it as any other module.
"""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

from build_tools.base import files
from build_tools.base.errors import BuildToolsError
from build_tools.kernel.stage import stage_kernel
from build_tools.kernel.values import FILENAMES, INFO_FILENAME, StampedModule
from build_tools.kernel.version import read_version
from extism_kernel_pkg._info import parse_info

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.project import Project
    from build_tools.kernel.values import StagedKernel

__all__ = ["has_wasm_tools", "is_finished", "stage_finished"]

WASM_TOOLS = ("wasmtime", "wasm_tools")


def has_wasm_tools() -> bool:
    """Say whether this Python has the libraries that read and judge a module."""
    return all(importlib.util.find_spec(name) is not None for name in WASM_TOOLS)


def is_finished(project: Project, prebuilt: Path) -> bool:
    """Say whether a prebuilt module can be packaged without a look inside."""
    return _read_info(project, prebuilt) is not None


def stage_finished(project: Project, prebuilt: Path, out: Path) -> StagedKernel | None:
    """Stage both modules and their info from the folder of `prebuilt`, or return None if they are not whole.

    Raises FileSystemError if `out` cannot be written.
    """
    info = _read_info(project, prebuilt)
    if info is None:
        return None
    modules = []
    for flavour, name in FILENAMES.items():
        entry = info["flavours"][flavour]
        data = files.read_bounded(prebuilt.parent / name)
        features = tuple(entry["features"])
        modules.append(StampedModule(flavour=flavour, data=data, sha256=entry["sha256"], features=features))
    return stage_kernel(modules, info, out)


def _read_info(project: Project, prebuilt: Path) -> dict[str, Any] | None:
    """Return the info beside a module if it is of this version and these sources, and the digests hold."""
    folder = prebuilt.parent
    try:
        info: dict[str, Any] = json.loads(files.read_bounded(folder / INFO_FILENAME))
        parse_info(info)
        digests = {name: info["flavours"][flavour]["sha256"] for flavour, name in FILENAMES.items()}
        found = {name: files.read_digest(folder / name) for name in digests}
        given = files.read_digest(prebuilt)
    except (BuildToolsError, ValueError, TypeError, KeyError, AttributeError):
        return None
    is_ours = (
        info["version"] == read_version(project.cargo_toml)
        and info["source_sha256"] == files.digest_files(project.root, project.kernel_inputs())
        and not info.get("allowed_findings")
    )
    return info if is_ours and found == digests and given in found.values() else None
