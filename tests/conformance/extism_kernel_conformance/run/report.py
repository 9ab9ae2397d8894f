"""The report: JSON lines, one section for each configuration, each with a header and a footer.

Sections can be joined with `cat`. A section that was cut short has no footer, and reading it is an error.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.base.errors import ReportMalformedError
from extism_kernel_conformance.base.files import write_whole
from extism_kernel_conformance.base.outcome import RED, VERDICTS
from extism_kernel_conformance.base.schema import load_check
from extism_kernel_conformance.run.judged import find_false_claim

if TYPE_CHECKING:
    from pathlib import Path

    from extism_kernel_conformance.run.result import Result

Line = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Section:
    """One configuration's part of a report; `header` and `footer` are lines as the schema has them."""

    header: dict[str, Any]
    lint: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    footer: dict[str, Any] = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """The configuration's name."""
        return str(self.header["configuration"])

    @property
    def is_green(self) -> bool:
        """Whether nothing in the section is red."""
        return bool(self.footer["green"])

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines in order."""
        return [self.header, *self.lint, *self.cases, self.footer]


def case_line(result: Result) -> dict[str, Any]:
    """Return the line of one result, empty members left out."""
    case, outcome = result.case, result.outcome
    line: dict[str, Any] = {"type": "case" if case else "lint", "id": result.id, "verdict": outcome.verdict}
    if case is not None:
        line |= {"level": case.level, "spec": list(case.spec), "title": case.title}
        if case.why and outcome.verdict not in {"pass", "skip"}:
            line["case_why"] = case.why
    for key in ("step", "call", "expected", "got", "fault", "message", "why", "link"):
        if value := getattr(outcome, key):
            line[key] = value
    return line | {"ms": outcome.milliseconds}


def is_red(line: Line) -> bool:
    """Return whether a line turns a run red: a broken `may` is shown, and is not red."""
    return line["verdict"] in RED and not (line.get("level") == "may" and line["verdict"] == "fail")


def make_footer(section: Section, *, seconds: float, skipped: str = "", broken: str = "") -> dict[str, Any]:
    """Return the footer of a section whose other lines are there."""
    verdicts = Counter(line["verdict"] for line in section.cases)
    lint_failed = sum(is_red(line) for line in section.lint)
    ran = len(section.cases) - verdicts["skip"]
    green = bool(skipped) or (
        not broken and not lint_failed and ran > 0 and not any(is_red(line) for line in section.cases)
    )
    footer: dict[str, Any] = {
        "type": "footer",
        "configuration": section.configuration,
        "cases": len(section.cases),
        "ran": ran,
        "verdicts": {name: verdicts[name] for name in VERDICTS if verdicts[name]},
        "lint_failed": lint_failed,
        "seconds": round(seconds, 1),
        "green": green,
    }
    if skipped:
        footer["skipped"] = skipped
    if broken or (ran == 0 and not skipped):
        footer["broken"] = broken or "no case ran"
    return footer


def write_report(path: Path, sections: Iterable[Section]) -> None:
    """Write sections whole or not at all."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for each in sections for line in each.lines())
    write_whole(path, text)


def read_reports(paths: Sequence[Path]) -> list[Section]:
    """Read sections. Raises ReportMalformedError for a line that breaks the schema or a missing footer."""
    sections: list[Section] = []
    for path in paths:
        try:
            # Not splitlines, which also ends a line at U+2028 and its like, and JSON has them in strings.
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ReportMalformedError(f"the report cannot be read: {error}", where=str(path)) from None
        sections += _read_sections(lines[:-1] if not lines[-1] else lines, path)
    return sections


def _read_sections(lines: Sequence[str], path: Path) -> list[Section]:
    sections: list[Section] = []
    current: Section | None = None
    check = load_check("report.schema.json")
    for number, text in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            line = json.loads(text)
        except ValueError:
            raise ReportMalformedError("this line is no JSON", where=where) from None
        for fault in check(line, ""):
            raise ReportMalformedError(fault, where=where)
        if (line["type"] == "header") == (current is not None):
            message = (
                "a header before the footer of the section above" if current else "a line before any header"
            )
            raise ReportMalformedError(
                message, where=where, hint="a report without a footer was cut short; run again"
            )
        if line["type"] == "header":
            if claim := find_false_claim(line):
                raise ReportMalformedError(claim, where=where, hint="judge the kernel again, with this suite")
            current = Section(header=line)
            continue
        assert current is not None
        if line["type"] == "footer":
            _check_footer(current, line, where)
            current.footer = line
            sections.append(current)
            current = None
        else:
            (current.lint if line["type"] == "lint" else current.cases).append(line)
    if current is not None or not sections:
        hint = "a report without a footer was cut short; run again"
        raise ReportMalformedError("the report has no footer", where=str(path), hint=hint)
    return sections


def _check_footer(section: Section, footer: Line, where: str) -> None:
    if footer["configuration"] != section.configuration or footer["cases"] != len(section.cases):
        raise ReportMalformedError(
            f"the footer speaks of {footer['cases']} cases of {footer['configuration']}, "
            f"the section has {len(section.cases)} of {section.configuration}",
            where=where,
        )
    twice = [name for name, count in Counter(line["id"] for line in section.cases).items() if count > 1]
    if twice:
        raise ReportMalformedError(f"the section has `{twice[0]}` more than once", where=where)
    counted = make_footer(
        section,
        seconds=footer["seconds"],
        skipped=footer.get("skipped", ""),
        broken=footer.get("broken", ""),
    )
    for key in ("ran", "verdicts", "lint_failed", "green"):
        if footer[key] != counted[key]:
            raise ReportMalformedError(
                f"the footer has {footer[key]} as `{key}`, the lines above come to {counted[key]}",
                where=where,
                hint="a report is not to be edited; run again",
            )
