"""Both flavours and their kernel info into one folder: all three or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from build_tools.base import files
from build_tools.base.findings import Artifact
from build_tools.kernel.values import FILENAMES, INFO_FILENAME, INFO_SCHEMA, StagedKernel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from build_tools.base.findings import Finding
    from build_tools.kernel.abi import Abi
    from build_tools.kernel.values import StampedModule
    from build_tools.toolchain.values import Toolchain


def make_info(  # noqa: PLR0913 - the facts of one kernel; all are recorded
    modules: Sequence[StampedModule],
    abi: Abi,
    *,
    version: str,
    toolchain: Toolchain | None,
    source_sha256: str,
    allowed: Sequence[Finding] = (),
) -> dict[str, Any]:
    """Return the kernel info: everything in it follows from the sources and the toolchain.

    `allowed` are findings that were let through by `--allow`; a kernel with any is no release.
    """
    return {
        "schema": INFO_SCHEMA,
        "name": "extism-kernel",
        "version": version,
        "abi_version": abi.version,
        "flavours": {
            module.flavour: {
                "file": FILENAMES[module.flavour],
                "size": len(module.data),
                "sha256": module.sha256,
                "features": list(module.features),
            }
            for module in modules
        },
        "exports": list(_exports(abi)),
        "toolchain": _toolchain(toolchain),
        "source_sha256": source_sha256,
        **({"allowed_findings": sorted({finding.code for finding in allowed})} if allowed else {}),
    }


def _exports(abi: Abi) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"name": abi.memory.name, "kind": "memory", "type": "memory", "since": abi.memory.since}
    ]
    for function in abi.functions:
        entry = {"name": function.name, "kind": "func", "type": function.type, "since": function.since}
        entries.append(entry | ({"alias": function.alias} if function.alias else {}))
    for item in abi.globals:
        entry = {"name": item.name, "kind": "global", "type": item.full_type, "since": item.since}
        entries.append(entry | {"flavours": list(item.flavours)})
    return entries


def _toolchain(toolchain: Toolchain | None) -> dict[str, Any]:
    if toolchain is None:
        return {"origin": "prebuilt", "is_release": False}
    return {
        "origin": toolchain.origin,
        "rustc": toolchain.version,
        "commit": toolchain.commit,
        "host": toolchain.host,
        "llvm": toolchain.llvm,
        "linker": toolchain.linker_version,
        "packages": dict(toolchain.packages),
        "is_release": toolchain.is_release,
    }


def stage_kernel(modules: Sequence[StampedModule], info: dict[str, Any], folder: Path) -> StagedKernel:
    """Write the modules and then the info into `folder`, and return what is there now.

    All bytes are on disk under temporary names before the first file changes its name, and a folder whose
    info is missing counts as not staged: an interrupted run leaves the old kernel, the new one, or none.
    """
    files.make_folder(folder)
    content = (json.dumps(info, indent=2, ensure_ascii=False) + "\n").encode()
    targets = [(folder / FILENAMES[module.flavour], module.data) for module in modules]
    targets.append((folder / INFO_FILENAME, content))
    for target, _ in targets:
        files.sweep(folder, target.name)
    temporaries = []
    try:
        for target, data in targets:
            temporaries.append(files.write_temporary(target, data))
        with files.guard(folder):
            (folder / INFO_FILENAME).unlink(missing_ok=True)
            for temporary, (target, _) in zip(temporaries, targets, strict=True):
                temporary.replace(target)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
    return read_staged(folder, info, is_fresh=True)


def read_staged(folder: Path, info: dict[str, Any], *, is_fresh: bool) -> StagedKernel:
    """Return what `info` says is staged in `folder`, without looking at the bytes again."""
    entries = info["flavours"]
    toolchain = info["toolchain"]
    return StagedKernel(
        folder=folder,
        version=info["version"],
        abi_version=info["abi_version"],
        artifacts=tuple(
            Artifact(
                name=entry["file"], path=folder / entry["file"], size=entry["size"], sha256=entry["sha256"]
            )
            for entry in entries.values()
        ),
        features={flavour: tuple(entry["features"]) for flavour, entry in entries.items()},
        toolchain=describe_toolchain(toolchain),
        is_fresh=is_fresh,
    )


def describe_toolchain(recorded: dict[str, Any]) -> str:
    """Return the recorded toolchain as one line."""
    if "rustc" not in recorded:
        return "prebuilt, made elsewhere"
    release = "release toolchain" if recorded["is_release"] else "not the release toolchain"
    made = f"rustc {recorded['rustc']} ({recorded['commit'][:9]}), LLVM {recorded['llvm']}"
    return f"{made}, {recorded['linker']}, from {recorded['origin']}; {release}"
