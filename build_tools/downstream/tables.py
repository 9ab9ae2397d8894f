"""The comparison as text for a terminal and as the Markdown of tests/conformance/RESULTS.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.downstream.go_tests import LIMIT_SECONDS, TestRun
from build_tools.downstream.rows import Facts, Outcome, measured
from build_tools.downstream.workloads import WORKLOADS, Ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from build_tools.downstream.programs import Cause
    from build_tools.downstream.suite import Judged

DIGEST_SHOWN = 8
PROGRAMS = """\
What fails whichever kernel is inside (of an SDK without a kernel: all that fails), by cause. For each
cause `python -m build_tools downstream --programs DIR` writes a small program in the language of the
SDK that shows it, with the plug-ins it needs."""
RUNTIMES = """\
## Runtimes

The kernel alone, on WebAssembly runtimes; each clause of the contract with the cases that pass."""
LINKS = """\
How it gets into each SDK is in [ADOPTING.md](ADOPTING.md), what a case promises in [SDK.md](SDK.md)."""
HEADER = ("SDK", "kernel", "digest", "cases pass", "fail", "skip", "own tests pass", "fail", "plug-ins alike")
WORKLOAD_NOTE = """\
CPU time with this kernel over that of the SDK as shipped: the median of the rounds, and in brackets
the least and the most. Both run in one run and take turns. Below 1 this kernel takes less."""


def table_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return two rows for each SDK, as shipped and with the kernel given; one where it takes none."""
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        tests = outcome.tests or (None, None)
        if outcome.shipped is not None or tests[0] is not None:
            rows.append(_row(outcome, "as shipped", outcome.shipped, tests[0], ""))
        if outcome.given is not None or tests[1] is not None:
            rows.append(_row(outcome, "this kernel", outcome.given, tests[1], _alike(outcome)))
        if outcome.shipped is None and outcome.given is None and outcome.tests is None:
            rows.append((outcome.sdk.name, outcome.skipped or "not run", *[""] * (len(HEADER) - 2)))
    return rows


def _row(
    outcome: Outcome, kernel: str, judged: Judged | None, tests: TestRun | None, alike: str
) -> tuple[str, ...]:
    own = (str(len(tests.passed)), str(len(tests.failed))) if tests else ("", "")
    if judged is None:
        return (outcome.sdk.name, kernel, "", "", "", "", *own, alike)
    if judged.skipped or judged.broken:
        note = f"skipped: {judged.skipped}" if judged.skipped else f"broken: {judged.broken}"
        return (outcome.sdk.name, kernel, "", note, *[""] * (len(HEADER) - 4))
    counts = (str(len(judged.passed)), str(len(judged.failed)), str(len(judged.ids("skip"))))
    return (outcome.sdk.name, kernel, judged.sha256[:DIGEST_SHOWN], *counts, *own, alike)


def _alike(outcome: Outcome) -> str:
    played = [each for each in outcome.plugins if not each.skipped]
    return f"{sum(not each.difference for each in played)} of {len(played)}" if played else ""


def workload_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return one row for each workload and one column for each SDK that was measured; nothing without any."""
    columns = [outcome for outcome in outcomes if measured(outcome)]
    if not columns:
        return []
    rows = [("workload", *(outcome.sdk.name for outcome in columns))]
    for workload in WORKLOADS:
        cells = []
        for outcome in columns:
            found = [each for each in outcome.ratios if each.workload == workload.name]
            cells.append(_ratio(found[0]) if found and isinstance(found[0], Ratio) else "-")
        rows.append((workload.name, *cells))
    return rows


def _ratio(ratio: Ratio) -> str:
    return f"{_figure(ratio.median)} ({_figure(ratio.low)} to {_figure(ratio.high)})"


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"  # noqa: PLR2004 - two digits that mean something


def sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """Return for each SDK what disappears, what remains and what differs."""
    lines: list[str] = []
    for outcome in outcomes:
        name = outcome.sdk.name
        if outcome.sdk.unavailable:
            lines.append(f"{name}: {outcome.sdk.unavailable}.")
        if outcome.shipped and outcome.given and outcome.given.lines:
            total = len(outcome.shipped.failed)
            gone, left = len(outcome.disappeared), len(outcome.remaining)
            lines.append(
                f"{name}: {gone} of {total} failures disappear with this kernel inside, {left} remain."
            )
            worse = ", ".join(sorted(outcome.worse))
            lines.append(
                f"{name}: nothing that passed as shipped fails." if not worse else f"{name}: worse: {worse}"
            )
        elif outcome.shipped and not outcome.sdk.given:
            lines.append(f"{name}: {outcome.sdk.way}; judged as shipped.")
        if outcome.tests:
            lines += _own_tests(name, *outcome.tests)
    return lines


def _own_tests(name: str, shipped: TestRun, given: TestRun) -> Iterator[str]:
    """Yield what its own tests say beside their numbers in the table."""
    alike = ", ".join(sorted(shipped.failed & given.failed))
    if alike:
        yield f"{name}: own tests that fail with either kernel: {alike}."
    for kernel, run in (("as shipped", shipped), ("with this kernel", given)):
        if run.unfinished:
            names = ", ".join(sorted(run.unfinished))
            yield f"{name}: own tests that do not end within {LIMIT_SECONDS} s {kernel}: {names}."


def differences(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one line for each plug-in that answered otherwise, or did not run."""
    return [
        f"{outcome.sdk.name}: plug-in {each.name}: {each.difference or 'skipped: ' + each.skipped}"
        for outcome in outcomes
        for each in outcome.plugins
        if each.difference or each.skipped
    ]


def render_text(facts: Facts, outcomes: Sequence[Outcome]) -> str:
    """Return everything as text for a terminal."""
    lines = [f"kernel {facts.version}: {facts.kernel_file}, {facts.size:,} bytes, sha256 {facts.sha256}", ""]
    lines += [*align([HEADER, *table_rows(outcomes)]), "", *sentences(outcomes)]
    rows = workload_rows(outcomes)
    if rows:
        lines += ["", "CPU time, this kernel over as shipped: median (least to most)", *align(rows)]
    if said := differences(outcomes):
        lines += ["", *said]
    return "\n".join(lines)


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with columns under each other."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def render_markdown(facts: Facts, outcomes: Sequence[Outcome], causes: Mapping[str, Sequence[Cause]]) -> str:
    """Return the SDKs' part of tests/conformance/RESULTS.md."""
    parts = [
        "# Results",
        f"Made on {facts.date} on {facts.machine} by\n\n```text\n{facts.command}\n```",
        f"The kernel is version {facts.version}, {facts.size:,} bytes,\nsha256 `{facts.sha256}`.\n{LINKS}",
        "## SDKs, as shipped and with this kernel",
        _markdown([HEADER, *table_rows(outcomes)]),
        "\n".join(f"- {line}" for line in sentences(outcomes)),
    ]
    if rows := workload_rows(outcomes):
        parts += ["### What it costs", WORKLOAD_NOTE, _markdown(rows)]
    if any(causes.values()):
        parts += ["## What remains, for the authors of the SDKs", PROGRAMS]
    for name, found in causes.items():
        if found:
            rows = [("cause", "cases", "program", "what came")]
            rows += [(each.why, str(len(each.cases)), f"`{name}/{each.slug}`", each.got) for each in found]
            parts += [f"### {name}", _markdown(rows)]
    return "\n\n".join(parts) + "\n"


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _escape(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown.replace("|", "\\|").replace("<", "&lt;")
