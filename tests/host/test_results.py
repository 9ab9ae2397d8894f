"""RESULTS.md is of what the campaigns measure now, and hides nothing that they found."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from . import attacks, bench, panics, results, soak

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = [*soak.COUNTS.values(), soak.COUNTS["plugins"]]  # with a hundred alive, too
MACHINE_PATH = re.compile(r"(?<![\w.])/(?!rustc/)\w+/")


def find_faults(page: str) -> Iterator[str]:
    """Say what of a page is not as the campaigns would make it, but for the figures."""
    if not page.startswith(results.TITLE):
        yield "another title"
    if MACHINE_PATH.search(page):
        yield "a path of one machine"
    parts = results.read_parts(page)
    if list(parts) != [title for title, _ in results.PARTS.values()]:
        yield f"parts: {', '.join(parts)}"
        return
    cost, endurance, hostile, shown = parts.values()
    yield from (f"cost: {fault}" for fault in find_faults_of_cost(rows(cost)))
    if Counter(row[1] for row in rows(endurance)) != Counter(f"{count:,}" for count in TIMES):
        yield "long use: other counts"
    if any(row[5] != "flat" for row in rows(endurance)):
        yield "long use: something grows"
    if re.findall(r"^([\w-]+)$", hostile, re.MULTILINE) != list(attacks.NAMES):
        yield "attacks: others"
    if re.search(r"ours: +(still running|the process ended|came back)", hostile):
        yield "attacks: ours gave in"
    if re.findall(r"^### (.*)", shown, re.MULTILINE) != list(panics.LANGUAGES):
        yield "panics: other languages"


def find_faults_of_cost(table: list[list[str]]) -> Iterator[str]:
    if {row[0]: row[4] for row in table} != {name: f"{goal:g}" for name, goal in bench.GOALS.items()}:
        yield "other rows or goals"
    for name, ours, _, quotient, goal, verdict in table:
        is_met = float((quotient or ours).split()[0].replace(",", "")) <= float(goal)
        if verdict != ("met" if is_met else "missed"):
            yield f"{name} is not {verdict}"


def rows(part: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_page_is_of_what_is_measured_now() -> None:
    faults = list(find_faults(results.PAGE.read_text(encoding="utf-8")))
    assert not faults, f"{faults}; run `{results.COMMAND}`"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("# What", "# Which", "another title"),
        ("## Long use", "## Short use", "parts: Cost, Short use"),
        (r"\| call, empty \|", "| call |", "cost: other rows"),
        (r"\| [\d.]+ \| 1.1 \| met", "| 9.99 | 1.1 | met", "cost: call, empty is not met"),
        (r"\| 100,000 \|", "| 100 |", "long use: other counts"),
        (r"\| flat \|", "| grows |", "long use: something grows"),
        (r"\nfuel\n", "\nfool\n", "attacks: others"),
        (r"ours: +\w", "ours:   still running ", "attacks: ours gave in"),
        ("### Go", "### Zig", "panics: other languages"),
        ("app/src/", "/elsewhere/app/src/", "a path of one machine"),
    ],
)
def test_page_with_a_fault_is_noticed(old: str, new: str, fault: str) -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    changed = re.sub(old, new, page, count=1)
    assert changed != page
    assert any(each.startswith(fault) for each in find_faults(changed))


def test_frames_of_a_standard_library_are_counted() -> None:
    lines = ["frames:", "  a at /rustc/1/a.rs:1", "  b at /rustc/1/b.rs:2", "  mine at src/x.rs:3 "]
    assert list(results.shorten(lines)) == [
        "frames:",
        "  (2 frames of the standard library)",
        "  mine at src/x.rs:3",
    ]
