"""The text that a run prints when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from extism_kernel_conformance.base.outcome import VERDICTS
from extism_kernel_conformance.reports.faults import explain, group_faults, join_configurations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.run.report import Section

_MOST_SHOWN = 20


def print_summary(sections: Sequence[Section], out: TextIO) -> None:
    """Print what failed, equal faults once, then one line for each section."""
    joined = join_configurations(group_faults(sections))
    for section in sections:
        groups = [group for group in joined if group.section is section]
        for group in groups[:_MOST_SHOWN]:
            print(f"{section.configuration}: {group.first['verdict']} {group.first['id']}", file=out)
            for what, text in explain(group):
                indented = text.replace("\n", "\n  ")
                print(
                    f"  {indented}" if what in {"seen", "fault", "message"} else f"  {what}: {indented}",
                    file=out,
                )
        if len(groups) > _MOST_SHOWN:
            print(f"{section.configuration}: and {len(groups) - _MOST_SHOWN} more faults", file=out)
    for section in sections:
        print(summary_line(section), file=out)


def summary_line(section: Section) -> str:
    """Return one section in one line."""
    footer = section.footer
    if "skipped" in footer:
        return f"{section.configuration:<24} skip   {footer['skipped']}"
    counts = ", ".join(
        f"{footer['verdicts'][name]} {name}" for name in VERDICTS if name in footer["verdicts"]
    )
    colour = "green" if section.is_green else "RED  "
    runtime = f"{section.header['runtime']['name']} {section.header['runtime']['version']}".strip()
    broken = f"; {footer['broken']}" if "broken" in footer else ""
    partial = "" if section.header["complete"] else ", not all cases"
    facts = f"({runtime}, {footer['seconds']} s{partial})"
    return f"{section.configuration:<24} {colour}  {counts or 'no cases'} {facts}{broken}"
