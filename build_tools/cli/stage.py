"""What `kernel` does: make the kernel and stage it, or stage one that was made before.

Imports what needs the wasm tools only where they are used: distributors package a finished kernel without.
"""

from __future__ import annotations

import importlib
import json
import logging
from typing import TYPE_CHECKING, Any

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, UsageError
from build_tools.base.findings import to_json
from build_tools.base.project import find_project
from build_tools.kernel.canonical import compare_info, read_canonical, write_canonical
from build_tools.kernel.finished import has_wasm_tools, stage_finished
from build_tools.kernel.values import INFO_FILENAME

if TYPE_CHECKING:
    import argparse

    from build_tools.base.project import Project
    from build_tools.kernel.canonical import Comparison
    from build_tools.kernel.values import StagedKernel

log = logging.getLogger(__name__)


def kernel(args: argparse.Namespace) -> int:
    """Make and stage the kernel."""
    if args.record and (args.prebuilt or args.allow):
        raise UsageError("`--record` goes neither with `--prebuilt` nor with `--allow`")
    project = find_project()
    staged = _stage_without_tools(args, project) or _make(args, project)
    info = json.loads(files.read_bounded(staged.folder / INFO_FILENAME))
    if args.record:
        write_canonical(project.canonical_json, info)
    comparison = compare_info(info, read_canonical(project.canonical_json))
    print(to_json(staged_to_data(staged, comparison)) if args.json else render_staged(staged, comparison))
    return ExitCode.DONE


def _stage_without_tools(args: argparse.Namespace, project: Project) -> StagedKernel | None:
    if args.prebuilt is None or has_wasm_tools():
        return None
    staged = stage_finished(project, args.prebuilt, args.out or project.package)
    if staged is not None:
        log.info("no wasm tools here: the modules are those of kernel_info.json beside them, by digest")
    return staged


def _make(args: argparse.Namespace, project: Project) -> StagedKernel:
    validate = importlib.import_module("build_tools.kernel.validate")
    pipeline = importlib.import_module("build_tools.kernel.pipeline")
    # Of a module that is not valid nothing can be said, so it cannot be stamped either.
    known = sorted(validate.CODES.keys() - {"module-invalid"})
    for code in args.allow:
        if code not in known:
            raise UsageError(f"`--allow {code}`: there are {', '.join(known)}")
    request = pipeline.Request(
        project=project,
        cache=find_cache(),
        out=args.out or project.package,
        prebuilt=args.prebuilt,
        is_forced=args.force,
        may_download=not args.offline,
        allowed=frozenset(args.allow),
    )
    staged: StagedKernel = pipeline.make_kernel(request)
    return staged


def render_staged(staged: StagedKernel, comparison: Comparison) -> str:
    """Return what was staged: a line for each file, then where and with what."""
    lines = [f"extism-kernel {staged.version}, ABI {staged.abi_version}"]
    if not staged.is_fresh:
        lines[0] += " (up to date; nothing to do)"
    for artifact, features in zip(staged.artifacts, staged.features.values(), strict=True):
        lines.append(f"  {artifact.name:<26} {artifact.size:>6,} bytes  sha256 {artifact.sha256}")
        lines.append(f"  {'':<26} uses {', '.join(features) or 'the MVP only'}")
    lines.append(f"  toolchain: {staged.toolchain}")
    lines.append(f"  {comparison.reason}")
    lines.append(f"  staged in: {staged.folder}")
    return "\n".join(lines)


def staged_to_data(staged: StagedKernel, comparison: Comparison) -> dict[str, Any]:
    """Return what was staged for JSON."""
    return {
        "version": staged.version,
        "abi_version": staged.abi_version,
        "folder": str(staged.folder),
        "toolchain": staged.toolchain,
        "up_to_date": not staged.is_fresh,
        "canonical": comparison.is_canonical,
        "canonical_reason": comparison.reason,
        "files": [
            {
                "name": artifact.name,
                "path": str(artifact.path),
                "size": artifact.size,
                "sha256": artifact.sha256,
            }
            for artifact in staged.artifacts
        ],
        "features": {flavour: list(names) for flavour, names in staged.features.items()},
    }
