"""The share of mutants that the cases kill, per function, and the survivors for a person to read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .campaign import Verdict
    from .equivalents import Equivalents

ENOUGH = 0.98
"""Share of the mutants that are not equivalent which the cases must kill, in each function."""
_NEIGHBOURS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionScore:
    """How one function's mutants fared."""

    name: str
    mutants: int
    """Those that validate."""
    killed: int
    equivalent: int
    survivors: tuple[Verdict, ...]

    @property
    def share(self) -> float:
        """Killed among those not listed as equivalent; 1 if there are none."""
        counted = self.mutants - self.equivalent
        return self.killed / counted if counted else 1.0

    @property
    def is_enough(self) -> bool:
        """Whether the share is what the suite promises."""
        return self.share >= ENOUGH


def score(verdicts: Iterable[Verdict], equivalents: Equivalents) -> list[FunctionScore]:
    """Return a score for each function, in the order of the code."""
    by_function: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_function.setdefault(verdict.mutant.function.index, []).append(verdict)
    scores = []
    for _, found in sorted(by_function.items()):
        alive = [verdict for verdict in found if verdict.is_valid and not verdict.is_killed]
        equivalent = [verdict for verdict in alive if equivalents.find(verdict.mutant.key) is not None]
        scores.append(
            FunctionScore(
                name=found[0].mutant.function.name,
                mutants=sum(verdict.is_valid for verdict in found),
                killed=sum(verdict.is_killed for verdict in found),
                equivalent=len(equivalent),
                survivors=tuple(
                    v for v in sorted(alive, key=lambda v: v.mutant.place) if v not in equivalent
                ),
            )
        )
    return scores


def find_killed_equivalents(verdicts: Iterable[Verdict], equivalents: Equivalents) -> list[Verdict]:
    """Return the mutants that are listed as equivalent and yet were killed: the list is wrong there."""
    return [
        verdict
        for verdict in verdicts
        if verdict.is_killed and equivalents.find(verdict.mutant.key) is not None
    ]


def write_table(scores: Sequence[FunctionScore]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each function and one for all."""
    yield "| function | mutants | killed | equivalent | survived | share |"
    yield "|---|--:|--:|--:|--:|--:|"
    for each in scores:
        yield _row(each.name, (each.mutants, each.killed, each.equivalent, len(each.survivors)), each.share)
    mutants, killed = sum(each.mutants for each in scores), sum(each.killed for each in scores)
    equivalent, survived = (
        sum(each.equivalent for each in scores),
        sum(len(each.survivors) for each in scores),
    )
    counted = mutants - equivalent
    yield _row("all", (mutants, killed, equivalent, survived), killed / counted if counted else 1.0)


def write_survivors(scores: Sequence[FunctionScore]) -> Iterator[str]:
    """Yield a few lines for each survivor: where it is, what was changed, what stands around it."""
    for each in scores:
        for verdict in each.survivors:
            mutant = verdict.mutant
            yield f"{mutant.function.name} at {mutant.offset:#x}: {mutant.before} -> {mutant.after}"
            yield f"  key: {mutant.key}"
            around = mutant.function.instructions[
                max(0, mutant.place - _NEIGHBOURS) : mutant.place + _NEIGHBOURS + 1
            ]
            yield "  in: " + "; ".join(f"[{i.text}]" if i.start == mutant.offset else i.text for i in around)


def write_score(
    path: Path, kernel: bytes, scores: Sequence[FunctionScore], excluded: Mapping[str, str], command: str
) -> None:
    """Write the table and the survivors to a Markdown file, whole or not at all."""
    lines = [
        "# Mutant score",
        "",
        f"Command: {command}  ",
        f"Kernel: {len(kernel)} bytes, sha256 `{hashlib.sha256(kernel).hexdigest()}`",
        "",
        f"Each row must reach {ENOUGH:.0%}. Equivalent mutants: `equivalent.json`, each with its reason.",
        "",
        *write_table(scores),
    ]
    if excluded:
        lines += ["", "Cases left out because the unbroken kernel fails them:", ""]
        lines += [f"- `{case}`" for case in sorted(excluded)]
    survivors = list(write_survivors(scores))
    if survivors:
        lines += ["", "## Survivors", "", "```text", *survivors, "```"]
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _row(name: str, counts: tuple[int, int, int, int], share: float) -> str:
    mutants, killed, equivalent, survived = counts
    return f"| {name} | {mutants} | {killed} | {equivalent} | {survived} | {share:.1%} |"
