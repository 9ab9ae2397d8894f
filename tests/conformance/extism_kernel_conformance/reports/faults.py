"""What went wrong, told whole and once: equal faults together, each with its call, promise and replay."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extism_kernel_conformance.reports.matrix import clause_titles
from extism_kernel_conformance.run.report import Line, Section, is_red

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(frozen=True, slots=True)
class FaultGroup:
    """Lines of one configuration that failed alike."""

    section: Section
    lines: tuple[Line, ...]
    elsewhere: tuple[str, ...] = ()
    """Other configurations on which the very same cases failed the very same way."""

    @property
    def first(self) -> Line:
        """The line that stands for all."""
        return self.lines[0]

    @property
    def others(self) -> tuple[str, ...]:
        """The ids of the other cases."""
        return tuple(line["id"] for line in self.lines[1:])


def group_faults(sections: Iterable[Section]) -> list[FaultGroup]:
    """Return all red lines, those alike in one group, in the order of the report."""
    groups: dict[tuple[object, ...], list[tuple[Section, Line]]] = {}
    for section in sections:
        for line in (*section.lint, *section.cases):
            if is_red(line):
                groups.setdefault((id(section), *_likeness(line)), []).append((section, line))
    return [FaultGroup(found[0][0], tuple(line for _, line in found)) for found in groups.values()]


def join_configurations(groups: Iterable[FaultGroup]) -> list[FaultGroup]:
    """Return the groups with those as one that differ in their configuration only."""
    joined: dict[tuple[object, ...], FaultGroup] = {}
    for group in groups:
        key = (tuple(line["id"] for line in group.lines), _likeness(group.first))
        first = joined.get(key)
        if first is None:
            joined[key] = group
        else:
            names = (*first.elsewhere, group.section.configuration)
            joined[key] = replace(first, elsewhere=names)
    return list(joined.values())


def _likeness(line: Line) -> tuple[object, ...]:
    """Return what two lines must share to be one fault.

    An adapter's fault is told by its message, whose ids and sizes differ; a kernel's by what was called,
    expected and seen.
    """
    if line.get("fault") and line.get("message"):
        return line["verdict"], line["fault"], _NUMBERS.sub("#", line["message"])
    return line["verdict"], line.get("call"), line.get("expected"), line.get("got"), line.get("message")


def describe(line: Line) -> str:
    """Return what was done, expected and seen, in one line; empty if nothing was judged."""
    if not line.get("expected"):
        return ""
    place = " at ".join(line[key] for key in ("call", "step") if line.get(key))
    seen = f"expected {line['expected']}, got {line.get('got', '')}"
    return f"{place}: {seen}" if place else seen


def promise_of(line: Line) -> str:
    """Return the promise that was broken, with its clauses in words; empty for a check of lint."""
    if not line.get("title"):
        return ""
    titles = clause_titles()
    named = [f"{clause}: {titles[clause]}" if clause in titles else clause for clause in line["spec"]]
    return f"{line['title']} ({'; '.join(named)})"


def replay_of(section: Section, line: Line) -> str:
    """Return the command that plays a case again; empty for a check of lint."""
    replay = str(section.header.get("replay", ""))
    return replay.replace("CASE", str(line["id"]), 1) if line["type"] == "case" else ""


def blame(line: Line, *, is_linted: bool) -> str:
    """Return whose fault an adapter's fault is, with its code; empty if the kernel was judged."""
    if not line.get("fault"):
        return ""
    words = "the adapter is at fault, not the kernel"
    if line["type"] == "case" and line["verdict"] in {"timeout", "crash"}:
        words = "the adapter was not linted, so it may be the adapter or the kernel inside it"
        if is_linted:
            words = "the adapter passed its lint, so look first at the kernel inside it"
    return f"{words} ({line['fault']})"


def explain(group: FaultGroup, *, most: int = 5) -> list[tuple[str, str]]:
    """Return a group as (what, text), in the order in which a person asks; empty texts left out."""
    line, section = group.first, group.section
    shown = ", ".join(group.others[:most])
    rest = len(group.others) - most
    facts = [
        ("seen", describe(line)),
        ("fault", blame(line, is_linted=bool(section.lint))),
        ("message", str(line.get("message", ""))),
        ("promise", promise_of(line)),
        ("why", str(line.get("case_why", ""))),
        ("replay", replay_of(section, line)),
        ("also on", ", ".join(group.elsewhere)),
        ("alike", f"{len(group.others)} more: {shown}" + (f" and {rest} others" if rest > 0 else "")),
    ]
    return [(what, text) for what, text in facts if text and (what != "alike" or group.others)]


def count_alike(groups: Sequence[FaultGroup]) -> dict[tuple[str, str], int]:
    """Return for each (configuration, id) how many lines failed alike."""
    return {
        (group.section.configuration, line["id"]): len(group.lines)
        for group in groups
        for line in group.lines
    }
