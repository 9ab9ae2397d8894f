"""Two kernels, each with its own truth: ours keeps every promise, an SDK's breaks exactly the known ones."""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from extism_kernel_conformance.cases.steps import Cut
from extism_kernel_conformance.run.known_failures import load_known_failures

if TYPE_CHECKING:
    from extism_kernel_conformance.cases.load import Case

SUITE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SUITE / "mutants"))

from kernel_mutants.kernels import KernelNotFoundError, fetch_sdk_kernel, find_staged_kernel  # noqa: E402 - see above
from kernel_mutants.trial import Trial, load_trial_cases  # noqa: E402

# A prime, so that the cuts of that kernel's loop fall on each of its instructions.
EVERY = 23
TOPICS = sorted({case.id.partition("/")[0] for case in load_trial_cases(SUITE / "cases")})
# More than half of the time of all topics together.
SLOW = frozenset(("bounds", "cuts", "edges", "growth", "hostile", "invented"))


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial(load_trial_cases(SUITE / "cases"))


@pytest.mark.parametrize(
    "topic", [pytest.param(topic, marks=pytest.mark.slow) if topic in SLOW else topic for topic in TOPICS]
)
def test_staged_kernel_keeps_every_promise_to_the_instruction(topic: str, trial: Trial) -> None:
    try:
        kernel = trial.accept(find_staged_kernel().read_bytes())
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))
    assert kernel is not None
    chosen = [
        case for case in trial.cases.values() if case.id.startswith(f"{topic}/") and case.level == "must"
    ]
    assert not {
        case.id: found for case in chosen if (found := trial.play(case, kernel, math.inf)) is not None
    }


def thin(case: Case) -> Case:
    """Return the case with fewer places where a reset is cut: that kernel's clears memory byte by byte.

    Two cases cut it at thousands of neighbouring places in that loop, and took six sevenths of the time.
    """
    steps = [
        replace(each, every=each.every * EVERY)
        if isinstance(each, Cut) and each.call.name == "reset"
        else each
        for each in case.steps
    ]
    return replace(case, steps=tuple(steps))


@pytest.mark.slow
def test_kernel_of_an_sdk_fails_on_just_the_known_defects(trial: Trial) -> None:
    try:
        data = fetch_sdk_kernel().read_bytes()
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))
    kernel = trial.accept(data)
    assert kernel is not None
    known = _known_failures(hashlib.sha256(data).hexdigest())
    found = {
        case.id: failure
        for case in map(thin, trial.cases.values())
        if (failure := trial.play(case, kernel, math.inf)) is not None
    }
    assert sorted(found.keys() - known.keys()) == [], "fails, but is not listed"
    assert sorted(known.keys() - found.keys()) == [], "is listed, but passes"
    other = {name: text for name, text in found.items() if not fnmatchcase(_got(text), _pattern(known[name]))}
    assert not other, "fails, but not as listed"


def test_list_of_known_defects_names_each_defect() -> None:
    reasons = {entry.why.partition(":")[0] for entry in load_known_failures([_subject()]).entries}
    assert {
        f"defect {number}" for number in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11)
    } <= reasons  # 7 needs more than 2 GiB


def _known_failures(digest: str) -> dict[str, str]:
    entries = load_known_failures([_subject()]).entries
    return {entry.case: entry.got for entry in entries if entry.kernel == digest}


def _subject() -> Path:
    return SUITE / "mutants" / "subjects" / "go-sdk.json"


def _got(text: str) -> str:
    return text.rpartition(", got ")[2]


def _pattern(got: str) -> str:
    return got.replace("[", "[[]").replace("?", "[?]")


def test_case_that_takes_too_long_has_failed(trial: Trial) -> None:
    try:
        kernel = trial.accept(find_staged_kernel().read_bytes())
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))
    assert kernel is not None
    found = trial.play(trial.cases["alloc/zero-is-none"], kernel, patience=-1)
    assert found is not None
    assert "expected an end in time" in found
