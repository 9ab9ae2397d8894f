"""Findings and artifacts, as values, as text for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One failed check: a stable code, what is and what should be, and the place."""

    code: str
    message: str
    where: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that was written whole and whose digest is known."""

    name: str
    path: Path
    size: int
    sha256: str


def render(code: str, message: str, *, where: str | None, hint: str | None, level: str = "error") -> str:
    """Return one fault as text: what is, where, and what to do about it."""
    lines = [f"{level}[{code}]: {message}"]
    if where:
        lines.append(f"  at: {where}")
    if hint:
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


def render_findings(findings: Sequence[Finding]) -> str:
    """Return all findings as text, one after the other."""
    return "\n".join(
        render(finding.code, finding.message, where=finding.where, hint=finding.hint, level="finding")
        for finding in findings
    )


def findings_to_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings for JSON."""
    return [dataclasses.asdict(finding) for finding in findings]


def to_json(value: object) -> str:
    """Return JSON as we print it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
