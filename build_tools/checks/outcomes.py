"""How the steps of `test` ended: values, the closing table, and what skipped tests leave unchecked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_NAMES = 6
MOST_FAILURES = 40
QUOTED = re.compile(r"`([^`]*)`")
HEADINGS = ("step", "passed", "failed", "skipped", "time", "CPU")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was not checked: its name, why, and the command (or the words) that change that.

    `is_chosen` says that the command line asked for it (`--fast`), so that `--strict` does not mind.
    """

    name: str
    reason: str
    fix: str
    is_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one step ended. `seconds` and `cpu` are of the clock and of the processor.

    `passed` counts tests, or the step itself where it has none; `failures` and `skips` name each.
    """

    name: str
    passed: int = 0
    failures: tuple[str, ...] = ()
    skips: tuple[Skipped, ...] = ()
    seconds: float = 0.0
    cpu: float = 0.0


def find_fix(reason: str) -> str:
    """Return what the reason of a skip says to do: its last command in backquotes, or its last clause."""
    commands = [quoted for quoted in QUOTED.findall(reason) if " " in quoted]
    if commands:
        return f"`{commands[-1]}`"
    clause = reason.rpartition("; ")
    return clause[2] if clause[1] else "see the reason"


def render_table(outcomes: Sequence[Outcome]) -> str:
    """Return one line for each step, and their sum."""
    rows = [HEADINGS]
    total = Outcome(
        name="all",
        passed=sum(each.passed for each in outcomes),
        failures=tuple(name for each in outcomes for name in each.failures),
        skips=tuple(skip for each in outcomes for skip in each.skips),
        seconds=sum(each.seconds for each in outcomes),
        cpu=sum(each.cpu for each in outcomes),
    )
    rows += [
        (
            each.name,
            str(each.passed),
            str(len(each.failures)),
            str(len(each.skips)),
            f"{each.seconds:.1f} s",
            f"{each.cpu:.1f} s",
        )
        for each in (*outcomes, total)
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[at].rjust(widths[at]) for at in range(1, len(HEADINGS)))])
        for row in rows
    ]
    return "\n".join(lines)


def render_failures(outcomes: Iterable[Outcome]) -> str:
    """Return the names of what failed, a line for each, or nothing."""
    names = [f"FAILED  {name}" for each in outcomes for name in each.failures]
    more = len(names) - MOST_FAILURES
    return "\n".join(names[:MOST_FAILURES] + ([f"FAILED  and {more} more"] if more > 0 else []))


def render_skips(outcomes: Iterable[Outcome]) -> str:
    """Return the skips, those of one reason together: what stays unchecked, and what to run."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in outcomes:
        for skip in each.skips:
            groups.setdefault((skip.reason, skip.fix), []).append(skip.name)
    lines = []
    for (reason, fix), names in groups.items():
        # The parameters of a test do not matter here.
        unique = list(dict.fromkeys(name.partition("[")[0] for name in names))
        more = f" and {len(unique) - MOST_NAMES} more" if len(unique) > MOST_NAMES else ""
        lines.append(f"SKIPPED {len(names)}: {reason}")
        lines.append(f"  unchecked: {', '.join(unique[:MOST_NAMES])}{more}")
        lines.append(f"  fix: {fix}")
    return "\n".join(lines)


def render_summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last line of a run, in the form that programs read."""
    passed = sum(each.passed for each in outcomes)
    failed = sum(len(each.failures) for each in outcomes)
    skipped = sum(len(each.skips) for each in outcomes)
    return f"{passed} passed, {failed} failed, {skipped} skipped"
