"""Tries the cases on mutant after mutant, in several processes, and keeps the score."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .code import Code, read_code
from .meter import add_meter
from .operators import Mutant, find_mutants
from .trial import Trial, load_quick_cases

_METERED = frozenset({"cost", "cuts"})
"""Topics whose cases see every instruction only in a metered kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one mutant."""

    mutant: Mutant
    killer: str
    """The case that noticed, empty if none did; `-` if the mutant does not validate and does not count."""
    finding: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether the mutant is a module at all."""
        return self.killer != "-"

    @property
    def is_killed(self) -> bool:
        """Whether a case noticed."""
        return self.killer not in {"", "-"}


@dataclass
class _Order:
    """The order in which cases are tried: what killed before in this function, then elsewhere, then the cheap ones."""

    cost: dict[str, float]
    kills: dict[tuple[str, str], int] = field(default_factory=dict)

    def ranked(self, function: str) -> list[str]:
        return sorted(self.cost, key=lambda case: (-self._score(function, case), self.cost[case]))

    def note(self, function: str, case: str) -> None:
        for place in (function, ""):
            self.kills[place, case] = self.kills.get((place, case), 0) + 1

    def _score(self, function: str, case: str) -> float:
        kills = 5 * self.kills.get((function, case), 0) + self.kills.get(("", case), 0)
        return kills / max(self.cost[case], 0.001)


class BaselineError(ValueError):
    """The unbroken kernel fails cases, so they prove nothing about a broken one."""


class Campaign:
    """One kernel's mutants and the cases, in one process."""

    def __init__(self, kernel: bytes, cases: Path) -> None:
        self.code: Code = read_code(kernel)
        self.mutants: Sequence[Mutant] = tuple(find_mutants(self.code))
        self._trial = Trial(load_quick_cases(cases))
        self.excluded = self._try_baseline()
        self._order = _Order(self._costs)

    def judge(self, mutant: Mutant) -> Verdict:
        """Try the cases on one mutant until one of them notices."""
        module = mutant.build(self.code)
        plain = self._trial.accept(module)
        if plain is None:
            return Verdict(mutant=mutant, killer="-")
        metered = None
        for identifier in self._order.ranked(mutant.function.name):
            case = self._trial.cases[identifier]
            kernel = plain
            if identifier.partition("/")[0] in _METERED:
                metered = metered or self._trial.accept_also(add_meter(module))
                kernel = metered
            found = self._trial.play(case, kernel)
            if found is not None:
                self._order.note(mutant.function.name, identifier)
                return Verdict(mutant=mutant, killer=identifier, finding=found)
        return Verdict(mutant=mutant, killer="")

    def _try_baseline(self) -> dict[str, str]:
        """Time each case on the unbroken kernel; return what the ones that fail found, by case."""
        plain, metered = self._trial.accept(self.code.data), self._trial.accept_also(add_meter(self.code.data))
        if plain is None:
            raise BaselineError("the kernel does not validate")
        failed: dict[str, str] = {}
        self._costs: dict[str, float] = {}
        for identifier, case in self._trial.cases.items():
            start = time.perf_counter()
            found = self._trial.play(case, metered if identifier.partition("/")[0] in _METERED else plain)
            if found is None:
                self._costs[identifier] = time.perf_counter() - start
            else:
                failed[identifier] = found
        return failed


_campaign: Campaign | None = None


def run_campaign(kernel: bytes, cases: Path, chosen: Sequence[int], *, jobs: int) -> Iterator[Verdict]:
    """Yield a verdict for each chosen mutant, given by its number; in any order with more than one job."""
    if jobs == 1:
        campaign = Campaign(kernel, cases)
        for number in chosen:
            yield campaign.judge(campaign.mutants[number])
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _start_worker, (kernel, cases)) as pool:
        yield from pool.imap_unordered(_judge_in_worker, chosen, chunksize=4)


def _start_worker(kernel: bytes, cases: Path) -> None:
    global _campaign  # noqa: PLW0603 - one per process, made when the process starts
    _campaign = Campaign(kernel, cases)


def _judge_in_worker(number: int) -> Verdict:
    assert _campaign is not None
    return _campaign.judge(_campaign.mutants[number])
