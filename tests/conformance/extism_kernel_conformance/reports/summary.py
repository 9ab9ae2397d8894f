"""The text that a run prints when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from extism_kernel_conformance.base.outcome import VERDICTS
from extism_kernel_conformance.run.report import Line, Section, is_red

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_SHOWN = 20


def print_summary(sections: Sequence[Section], out: TextIO) -> None:
    """Print the red lines of each section, then one line for each section."""
    for section in sections:
        red = [line for line in (*section.lint, *section.cases) if is_red(line)]
        for line in red[:_MOST_SHOWN]:
            print(f"{section.configuration}: {line['verdict']} {line['id']}", file=out)
            place = f"{line['step']}: " if line.get("step") else ""
            if line.get("expected"):
                print(f"  {place}expected {line['expected']}, got {line.get('got', '')}", file=out)
            if line.get("fault"):
                print(f"  {_blame(line, is_linted=bool(section.lint))} ({line['fault']})", file=out)
            if line.get("message"):
                print(f"  {line['message']}", file=out)
        if len(red) > _MOST_SHOWN:
            print(f"{section.configuration}: and {len(red) - _MOST_SHOWN} more", file=out)
        if red and section.header.get("replay"):
            print(f"  replay with: {section.header['replay']}", file=out)
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
    facts = f"({runtime}, {footer['seconds']} s)"
    return f"{section.configuration:<24} {colour}  {counts or 'no cases'} {facts}{broken}"


def _blame(line: Line, *, is_linted: bool) -> str:
    if line["type"] == "case" and line["verdict"] in {"timeout", "crash"}:
        if not is_linted:
            return "the adapter was not linted, so it may be the adapter or the kernel inside it"
        return "the adapter passed its lint, so look first at the kernel inside it"
    return "the adapter is at fault, not the kernel"
