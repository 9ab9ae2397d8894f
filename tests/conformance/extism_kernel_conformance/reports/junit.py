"""The report as JUnit XML, which most CI systems can show: a suite for each configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from extism_kernel_conformance.reports.faults import (
    FaultGroup,
    count_alike,
    describe,
    explain,
    group_faults,
)
from extism_kernel_conformance.run.report import Line, Section, is_red

if TYPE_CHECKING:
    from collections.abc import Sequence


def render_junit(sections: Sequence[Section]) -> str:
    """Return the report as one `testsuites` document."""
    root = ET.Element("testsuites", name="extism-kernel-conformance")
    for section in sections:
        lines = [*section.lint, *section.cases]
        red = [line for line in lines if is_red(line)]
        errors = [line for line in red if line["verdict"] in {"error", "timeout", "crash"}]
        broken = "broken" in section.footer and not red
        suite = ET.SubElement(
            root,
            "testsuite",
            name=section.configuration,
            tests=str(len(lines) + broken),
            failures=str(len(red) - len(errors)),
            errors=str(len(errors) + broken),
            skipped=str(sum(_is_skipped(line) for line in lines)),
            time=str(section.footer["seconds"]),
        )
        facts = {
            key: section.header[key] for key in ("started", "machine", "command") if section.header.get(key)
        }
        facts |= {"kernel": section.header["kernel"]["sha256"], "cases": section.header["cases_sha256"]}
        facts["complete"] = str(section.header["complete"]).lower()
        properties = ET.SubElement(suite, "properties")
        for name, value in facts.items():
            ET.SubElement(properties, "property", name=name, value=_clean(value))
        alike = count_alike(group_faults([section]))
        for line in lines:
            _add_case(suite, section, line, alike.get((section.configuration, line["id"]), 1))
        if broken:
            case = ET.SubElement(suite, "testcase", classname=section.configuration, name="adapter", time="0")
            ET.SubElement(case, "error", message=_clean(section.footer["broken"]))
        if "skipped" in section.footer:
            suite.set("tests", "1")
            suite.set("skipped", "1")
            case = ET.SubElement(suite, "testcase", classname=section.configuration, name="adapter", time="0")
            ET.SubElement(case, "skipped", message=_clean(section.footer["skipped"]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _is_skipped(line: Line) -> bool:
    return line["verdict"] in {"skip", "xfail"} or (line["verdict"] == "fail" and not is_red(line))


def _add_case(suite: ET.Element, section: Section, line: Line, alike: int) -> None:
    topic, _, promise = str(line["id"]).rpartition("/")
    seconds = f"{line['ms'] / 1000:.3f}"
    case = ET.SubElement(
        suite, "testcase", classname=f"{section.configuration}.{topic}", name=promise, time=seconds
    )
    if is_red(line):
        kind = "error" if line["verdict"] in {"error", "timeout", "crash"} else "failure"
        message = line.get("message") or describe(line)
        mark = ET.SubElement(case, kind, message=_clean(message), type=line["verdict"])
        facts = explain(FaultGroup(section, (line,)))
        if alike > 1:
            facts.append(("alike", f"one of {alike} that failed alike"))
        mark.text = _clean("\n".join(f"{what}: {text}" for what, text in facts))
    elif _is_skipped(line):
        reason = line.get("why") or line.get("message") or f"level may: {describe(line)}"
        ET.SubElement(case, "skipped", message=_clean(f"{line['verdict']}: {reason}"))


def _clean(text: str) -> str:
    """Drop the control characters that XML 1.0 cannot carry."""
    return "".join(char for char in text if char in "\t\n\r" or ord(char) >= 0x20)
