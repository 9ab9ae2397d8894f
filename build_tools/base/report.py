"""Values as text for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.base.model import Finding, StagedKernel


def render_findings(findings: Sequence[Finding]) -> str:
    """Return all findings as text, one after the other."""
    return "\n".join(
        render(finding.code, finding.message, where=finding.where, hint=finding.hint, level="finding")
        for finding in findings
    )


def findings_to_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings for JSON."""
    return [dataclasses.asdict(finding) for finding in findings]


def render_staged(staged: StagedKernel) -> str:
    """Return what was staged: a line for each file, then where and with what."""
    lines = [f"extism-kernel {staged.version}, ABI {staged.abi_version}"]
    if not staged.is_fresh:
        lines[0] += " (up to date; nothing to do)"
    for artifact, features in zip(staged.artifacts, staged.features.values(), strict=True):
        lines.append(f"  {artifact.name:<26} {artifact.size:>6,} bytes  sha256 {artifact.sha256}")
        lines.append(f"  {'':<26} uses {', '.join(features) or 'the MVP only'}")
    lines.append(f"  toolchain: {staged.toolchain}")
    lines.append(f"  staged in: {staged.folder}")
    return "\n".join(lines)


def staged_to_data(staged: StagedKernel) -> dict[str, Any]:
    """Return what was staged for JSON."""
    return {
        "version": staged.version,
        "abi_version": staged.abi_version,
        "folder": str(staged.folder),
        "toolchain": staged.toolchain,
        "up_to_date": not staged.is_fresh,
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


def to_json(value: object) -> str:
    """Return JSON as we print it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
