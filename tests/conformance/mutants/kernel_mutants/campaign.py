"""Tries the cases on mutant after mutant, in several processes, and keeps the score."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .code import Code, read_code
from .coverage import Marks, add_marks, place_marks
from .operators import Mutant, find_mutants
from .replay import EndlessCallError, Reach, Replay
from .trial import Trial, load_trial_cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from extism_kernel_conformance.cases.load import Case
    from extism_kernel_conformance.wasm.module import Kernel

_AT_ONCE = 3
"""Suspect cases that Node looks for before the first of them is judged."""
_ENDLESS = "a call without end"
"""Stands for the case that such a mutant fails: any adapter's answer would be waited for in vain."""


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
    """The order in which cases are tried: killers of this function, of others, then the cheap ones."""

    cost: Mapping[str, float]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the unbroken kernel makes of the cases: made once, then handed to every process."""

    costs: Mapping[str, float]
    """Seconds that each case takes, in Node if that looks first."""
    traces: Sequence[Mapping[str, object]]
    """What each case asked, and what was answered."""
    excluded: Mapping[str, str]
    """What the cases found that the unbroken kernel fails: they prove nothing about a broken one."""
    reached: Mapping[str, Reach] | None
    """The code that each case runs; None without Node."""


def make_baseline(kernel: bytes, cases: Iterable[Case], *, is_quick: bool) -> Baseline:
    """Play the cases on the unbroken kernel. Raises BaselineError if it is no kernel."""
    trial = Trial(cases)
    accepted = trial.accept(kernel)
    if accepted is None:
        raise BaselineError("the kernel does not validate")
    costs: dict[str, float] = {}
    traces: list[Mapping[str, object]] = []
    excluded: dict[str, str] = {}
    for identifier, case in trial.cases.items():
        start = time.perf_counter()
        found, trace = trial.record(case, accepted)
        if found is None:
            costs[identifier] = time.perf_counter() - start
            traces.append(trace)
        else:
            excluded[identifier] = found
    reached = None
    if is_quick:
        reached = _find_reached(trial, kernel, traces)
        costs = {case: reach.seconds for case, reach in reached.items()}
    return Baseline(costs=costs, traces=traces, excluded=excluded, reached=reached)


def _find_reached(trial: Trial, kernel: bytes, traces: Sequence[Mapping[str, object]]) -> dict[str, Reach]:
    code = read_code(kernel)
    marking = trial.with_code(kernel, add_marks(code, place_marks(code)))
    replay = Replay(traces)
    try:
        return replay.find_marks(trial.limit(marking))
    finally:
        replay.close()


class Campaign:
    """One kernel's mutants and the cases, in one process. With a quick baseline Node looks at each first."""

    def __init__(self, code: Code, cases: Path, baseline: Baseline) -> None:
        self.code = code
        self.mutants: Sequence[Mutant] = tuple(find_mutants(code))
        self._marks: Marks = place_marks(code)
        self._reached = baseline.reached
        self._trial = Trial(load_trial_cases(cases))
        self._order = _Order(baseline.costs)
        self._replay = None if baseline.reached is None else Replay(baseline.traces)

    def judge(self, mutant: Mutant, survived: AbstractSet[str] = frozenset()) -> Verdict:
        """Try the cases on one mutant, but those it `survived` before, until one of them notices."""
        kernel = self._trial.accept(mutant.build(self.code))
        if kernel is None:
            return Verdict(mutant=mutant, killer="-")
        try:
            for suspects in self._find_suspects(mutant, kernel, survived):
                for identifier in suspects:
                    found = self._trial.play(self._trial.cases[identifier], kernel)
                    if found is not None:
                        self._order.note(mutant.function.name, identifier)
                        return Verdict(mutant=mutant, killer=identifier, finding=found)
        except EndlessCallError:
            return Verdict(mutant=mutant, killer=_ENDLESS, finding="a call did not end in time")
        return Verdict(mutant=mutant, killer="")

    def close(self) -> None:
        """End the Node process, if there is one."""
        if self._replay is not None:
            self._replay.close()

    def _find_suspects(
        self, mutant: Mutant, kernel: Kernel, survived: AbstractSet[str]
    ) -> Iterator[list[str]]:
        """Yield the cases that may kill a mutant, the likely and cheap ones first."""
        ranked = [case for case in self._order.ranked(mutant.function.name) if case not in survived]
        if self._reached is not None:
            mark = self._marks.of(mutant)
            ranked = [case for case in ranked if self._reached[case].marks >> mark & 1]
        if self._replay is None:
            yield ranked
            return
        modules = self._trial.limit(kernel)
        while different := self._replay.find_different(modules, order=ranked, most=_AT_ONCE):
            yield different
            ranked = ranked[ranked.index(different[-1]) + 1 :]


def take_as_alive(code: Code, numbers: Iterable[int]) -> list[Verdict]:
    """Return the verdict of a survivor for each mutant that validates, without a trial."""
    mutants, trial = tuple(find_mutants(code)), Trial(())
    return [
        Verdict(
            mutant=mutants[number], killer="-" if trial.accept(mutants[number].build(code)) is None else ""
        )
        for number in numbers
    ]


_campaign: Campaign | None = None


def run_campaign(
    code: Code, cases: Path, baseline: Baseline, chosen: Mapping[int, AbstractSet[str]], *, jobs: int
) -> Iterator[tuple[int, Verdict]]:
    """Yield the number and the verdict of each chosen mutant; in any order with more than one job.

    `chosen` has for each mutant the cases that it survived before: they are not tried again.
    """
    if jobs == 1:
        campaign = Campaign(code, cases, baseline)
        try:
            for number, survived in chosen.items():
                yield number, campaign.judge(campaign.mutants[number], survived)
        finally:
            campaign.close()
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _start_worker, (code, cases, baseline)) as pool:
        yield from pool.imap_unordered(_judge_in_worker, chosen.items())


def _start_worker(code: Code, cases: Path, baseline: Baseline) -> None:
    global _campaign  # noqa: PLW0603 - one per process, made when the process starts
    _campaign = Campaign(code, cases, baseline)


def _judge_in_worker(task: tuple[int, AbstractSet[str]]) -> tuple[int, Verdict]:
    assert _campaign is not None
    number, survived = task
    return number, _campaign.judge(_campaign.mutants[number], survived)
