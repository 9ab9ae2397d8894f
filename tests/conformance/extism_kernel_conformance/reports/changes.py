"""What changed since another report: case by case, on each configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extism_kernel_conformance.reports.matrix import ran
from extism_kernel_conformance.run.report import Line, Section, is_red

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Place = tuple[str, str]
"""Configuration and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is different from an older report; cases that only one of them has are told apart."""

    old: str
    """Date and kernel of the older report."""
    broken: Sequence[Place] = field(default=())
    fixed: Sequence[Place] = field(default=())
    other: Sequence[Place] = field(default=())
    new: Sequence[Place] = field(default=())
    gone: Sequence[Place] = field(default=())

    def kinds(self) -> list[tuple[str, Sequence[Place]]]:
        """Return each kind of change with its places, worst first."""
        return [
            ("newly red", self.broken),
            ("no longer red", self.fixed),
            ("another verdict", self.other),
            ("not in the older report", self.new),
            ("only in the older report", self.gone),
        ]


def compare(old: Sequence[Section], new: Sequence[Section]) -> Changes:
    """Return what changed from one report to another."""
    before, after = _lines(old), _lines(new)
    both = [place for place in after if place in before]
    changed = [place for place in both if after[place]["verdict"] != before[place]["verdict"]]
    header = old[0].header
    return Changes(
        old=f"{header.get('started', 'an undated report')}, kernel {header['kernel']['sha256'][:12]}",
        broken=[place for place in changed if is_red(after[place]) and not is_red(before[place])],
        fixed=[place for place in changed if is_red(before[place]) and not is_red(after[place])],
        other=[place for place in changed if is_red(before[place]) == is_red(after[place])],
        new=[place for place in after if place not in before],
        gone=[place for place in before if place not in after],
    )


def _lines(sections: Sequence[Section]) -> Mapping[Place, Line]:
    return {
        (section.configuration, line["id"]): line
        for section in ran(sections)
        for line in (*section.lint, *section.cases)
    }
