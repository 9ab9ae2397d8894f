"""The matrix as Markdown: one row for each configuration, and what did not run with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import VERDICTS
from extism_kernel_conformance.reports.faults import explain, group_faults, join_configurations
from extism_kernel_conformance.reports.matrix import (
    clauses_of,
    facts_of,
    make_cell,
    name_apart,
    ran,
    runtime_name,
    tally,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.reports.changes import Changes
    from extism_kernel_conformance.reports.faults import FaultGroup
    from extism_kernel_conformance.run.report import Section

_MARKS = {"red": "❌ ", "xfail": "⚠️ ", "pass": "", "skip": "", "none": ""}


def render_markdown(
    sections: Sequence[Section], *, by_clause: bool = True, changes: Changes | None = None
) -> str:
    """Return the report as Markdown: facts, overview, what changed, failures, tables."""
    sections = name_apart(sections)
    parts = [_facts(sections), _overview(sections)]
    if changes is not None:
        parts.append(_changes(changes))
    groups = group_faults(sections)
    if groups:
        parts.append(
            "Failures, equal ones together:\n\n"
            + "\n".join(map(_failure, join_configurations(groups)))
            + "\n"
        )
    if by_clause and ran(sections):
        parts.append(_clause_table(ran(sections)))
    known = [
        (section, line)
        for section in sections
        for line in section.lint + section.cases
        if line["verdict"] == "xfail"
    ]
    if known:
        rows = "\n".join(
            f"| {section.configuration} | `{line['id']}` | {_cell(line.get('got', ''))} "
            f"| {_cell(line['why'])} |"
            for section, line in known
        )
        parts.append(f"Known failures:\n\n| configuration | case | got | why |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _facts(sections: Sequence[Section]) -> str:
    return "\n".join(f"- {name}: {_cell(text)}" for name, text in facts_of(sections)) + "\n"


def _failure(group: FaultGroup) -> str:
    count = f" and {len(group.others)} alike" if group.others else ""
    title = f"- **{group.section.configuration}**: {group.first['verdict']} `{group.first['id']}`{count}"
    lines = [
        f"  - {what}: `{text}`" if what == "replay" else f"  - {what}: {_cell(text)}"
        for what, text in explain(group)
    ]
    return "\n".join([title, *lines])


def _changes(changes: Changes) -> str:
    rows = [f"- {kind}: {len(found)}" + _names(found) for kind, found in changes.kinds() if found]
    return f"Since {_cell(changes.old)}:\n\n" + ("\n".join(rows) or "- nothing changed") + "\n"


def _names(found: Sequence[tuple[str, str]], most: int = 10) -> str:
    names = ", ".join(f"`{case}` on {configuration}" for configuration, case in found[:most])
    return f" ({names}{', ...' if len(found) > most else ''})"


def _overview(sections: Sequence[Section]) -> str:
    columns = [verdict for verdict in VERDICTS if any(verdict in s.footer["verdicts"] for s in sections)]
    head = f"| configuration | runtime | lint | {' | '.join(columns)} | seconds | |\n"
    head += "|---|---|---|" + "--:|" * len(columns) + "--:|---|\n"
    rows = ""
    for section in sections:
        footer = section.footer
        lint = f"{len(section.lint) - footer['lint_failed']}/{len(section.lint)}" if section.lint else ""
        counts = " | ".join(str(footer["verdicts"].get(verdict, "")) for verdict in columns)
        note = footer.get("skipped") or footer.get("broken", "")
        state = (
            f"skip: {_cell(note)}"
            if "skipped" in footer
            else ("green" if footer["green"] else f"**red** {_cell(note)}")
        )
        rows += f"| {section.configuration} | {runtime_name(section)} | {lint} | {counts} "
        rows += f"| {footer['seconds']} | {state} |\n"
    return head + rows


def _clause_table(sections: Sequence[Section]) -> str:
    names = [section.configuration for section in sections]
    table = f"| clause | {' | '.join(names)} |\n|---|{'--:|' * len(names)}\n"
    for clause in clauses_of(sections):
        cells = (make_cell(section, clause) for section in sections)
        table += f"| {clause} | {' | '.join(_MARKS[cell.state] + cell.text for cell in cells)} |\n"
    cells = (tally(section) for section in sections)
    return table + f"| all | {' | '.join(_MARKS[cell.state] + cell.text for cell in cells)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
