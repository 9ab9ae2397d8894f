"""The matrix as Markdown: one row for each configuration, and what did not run with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import VERDICTS
from extism_kernel_conformance.reports.matrix import (
    clauses_of,
    make_cell,
    name_apart,
    ran,
    runtime_name,
    tally,
)
from extism_kernel_conformance.run.report import Section, is_red

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARKS = {"red": "❌ ", "xfail": "⚠️ ", "pass": "", "skip": "", "none": ""}


def render_markdown(sections: Sequence[Section], *, by_clause: bool = True) -> str:
    """Return the report as Markdown tables."""
    sections = name_apart(sections)
    parts = [_overview(sections)]
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
    red = [(section, line) for section in sections for line in section.lint + section.cases if is_red(line)]
    if red:
        rows = "\n".join(
            f"| {section.configuration} | `{line['id']}` | {line['verdict']} "
            f"| {_cell(line.get('expected', ''))} | {_cell(line.get('got', ''))} |"
            for section, line in red
        )
        parts.append(
            f"Red:\n\n| configuration | case | verdict | expected | got |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


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
