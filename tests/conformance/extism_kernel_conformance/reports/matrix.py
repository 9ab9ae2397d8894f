"""The matrix clause x configuration, worked out once for the Markdown and the HTML page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import RED, VERDICTS
from extism_kernel_conformance.base.resources import suite_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from extism_kernel_conformance.run.report import Line, Section

_DIGEST_LENGTH = 64

GROUP_TITLES: Mapping[str, str] = {
    "S": "surface",
    "A": "blocks",
    "M": "reading and writing",
    "R": "registers",
    "L": "reset and life",
    "C": "cost",
    "H": "host",
}
"""What the letter of a clause's id stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All cases of one clause on one configuration."""

    lines: tuple[Line, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many cases came to which verdict."""
        return Counter(line["verdict"] for line in self.lines)

    @property
    def state(self) -> str:
        """The word that colours the cell: `none`, `red`, `xfail`, `pass` or `skip`, the worst there is."""
        counts = self.counts
        if not self.lines:
            return "none"
        if any(counts[verdict] for verdict in RED):
            return "red"
        if counts["xfail"]:
            return "xfail"
        return "pass" if counts["pass"] else "skip"

    @property
    def text(self) -> str:
        """The cell in a few characters: passed of played, or what else there is to say."""
        counts = self.counts
        played = len(self.lines) - counts["skip"]
        if not self.lines:
            return ""
        return f"{counts['pass']}/{played}" if played else "skip"

    @property
    def words(self) -> str:
        """The cell in words, worst first."""
        order = sorted(VERDICTS, key=lambda verdict: (verdict not in RED, verdict != "xfail"))
        return ", ".join(f"{self.counts[verdict]} {verdict}" for verdict in order if self.counts[verdict])


def clauses_of(sections: Iterable[Section]) -> list[str]:
    """Return the ids of all clauses that a report's cases name, in the order of the contract."""
    found = {clause for section in sections for line in section.cases for clause in line["spec"]}
    return sorted(found, key=_clause_key)


def clause_titles() -> Mapping[str, str]:
    """Return what each clause promises, in a few words, for those that clauses.json knows."""
    titles: dict[str, str] = json.loads((suite_root() / "clauses.json").read_text(encoding="utf-8"))
    return titles


def name_apart(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with a name of its own for each: reports of several kernels may be joined."""
    counts = Counter(section.configuration for section in sections)
    seen = Counter[str]()

    def rename(section: Section) -> Section:
        name = section.configuration
        if counts[name] == 1:
            return section
        seen[name] += 1
        digest = section.header["kernel"]["sha256"][:6]
        return replace(section, header={**section.header, "configuration": f"{name} {seen[name]} ({digest})"})

    return [rename(section) for section in sections]


def make_cell(section: Section, clause: str) -> Cell:
    """Return the cell of one clause on one configuration."""
    return Cell(lines=tuple(line for line in section.cases if clause in line["spec"]))


def tally(section: Section) -> Cell:
    """Return the cell of all cases of a configuration."""
    return Cell(lines=tuple(section.cases))


def runtime_name(section: Section) -> str:
    """Return the runtime and its version as a person writes them."""
    runtime = section.header["runtime"]
    return f"{runtime['name']} {runtime['version']}".strip()


def facts_of(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Return what stands above the numbers of a report: counts, date, digests, machine, command."""
    played = ran(sections)
    header = (played or list(sections))[0].header
    total = Counter(line["verdict"] for section in played for line in section.cases)
    counted = ", ".join(f"{total[verdict]} {verdict}" for verdict in VERDICTS if total[verdict]) or "none"
    green = sum(section.is_green for section in played)
    facts = [
        (
            "configurations",
            f"{green} of {len(played)} that ran are green; {len(sections) - len(played)} did not run",
        )
    ]
    facts.append(("results", counted))
    partial = sorted({partial_words(section) for section in played} - {""})
    if partial:
        facts.append(("partial run", "; ".join(partial)))
    dates = sorted({str(section.header["started"]) for section in sections if section.header.get("started")})
    if dates:
        facts.append(("date", dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"))
    kernels = {section.header["kernel"]["sha256"]: section.header["kernel"] for section in played}
    for digest, kernel in kernels.items():
        if kernel["file"]:
            text = f"{kernel['file']}, {kernel['bytes']} bytes, sha256 {digest}"
            facts.append((f"kernel ({kernel['flavour']})", text))
            continue
        names = ", ".join(s.configuration for s in played if s.header["kernel"]["sha256"] == digest)
        text = f"sha256 {digest}" if len(digest) == _DIGEST_LENGTH else digest
        facts.append(("kernel of an SDK", f"{text} ({names})"))
    facts.append(("suite", f"{header['suite']}, cases {header['cases_sha256'][:16]}"))
    for key in ("machine", "command"):
        facts += [(key, text) for text in sorted({str(s.header[key]) for s in sections if s.header.get(key)})]
    return facts


def partial_words(section: Section) -> str:
    """Return what a run left out, in the words of its options; empty if it left out nothing."""
    if section.header["complete"]:
        return ""
    selection = section.header["selection"]
    words = [f"-k {text}" for text in selection.get("patterns", ())]
    words += [f"--case {text}" for text in selection.get("ids", ())]
    words += [f"--suite-level {selection['level']}"] if selection.get("level") else []
    words += ["--skip-slow"] if selection.get("skip_slow") else []
    return (
        f"only what {' '.join(words)} leaves" if words else "lint was left out, or the first failure ended it"
    )


def ran(sections: Sequence[Section]) -> list[Section]:
    """Return the sections of configurations that were there to run."""
    return [section for section in sections if "skipped" not in section.footer]


def _clause_key(clause: str) -> tuple[int, str, int]:
    letter, _, number = clause.partition("-")
    order = list(GROUP_TITLES)
    rank = order.index(letter) if letter in order else len(order)
    return rank, letter, int(re.sub(r"\D", "", number) or 0)
