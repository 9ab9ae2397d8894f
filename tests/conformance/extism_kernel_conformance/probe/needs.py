"""What a guest cannot do, so that a case which needs it is no case for a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.cases import steps as s

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from extism_kernel_conformance.cases.load import Case

FIRST_CALL = "L-1"
"""The clause about the first call on an instance: in a host the first calls are the host's own."""

_OF_STEPS: tuple[tuple[type[s.Step], str], ...] = (
    (s.Cut, "counting fuel"),
    (s.Pages, "seeing the size of the kernel's memory"),
    (s.Grow, "growing the kernel's memory"),
    (s.Global, "seeing the kernel's globals"),
    (s.Exports, "seeing the kernel's module"),
    (s.ModuleFacts, "seeing the kernel's module"),
    (s.Instantiate, "several instances"),
    (s.Drop, "several instances"),
)


def find_unmet(case: Case) -> str | None:
    """Return why no guest can play the case, or None."""
    needs = sorted(set(_unmet(case)))
    return f"needs {', '.join(needs)}, which a guest does not have" if needs else None


def _unmet(case: Case) -> Iterator[str]:
    if FIRST_CALL in case.spec:
        yield f"the first call on an instance ({FIRST_CALL})"
    if case.max_pages is not None:
        yield "a memory limit that makes `alloc` return 0 (in a host it ends the call, H-13)"
    for step in walk_steps((*case.setup, *case.steps)):
        yield from (need for kind, need in _OF_STEPS if isinstance(step, kind))
        if isinstance(step, s.Call) and step.fuel is not None:
            yield "counting fuel"
        if isinstance(step, s.Call) and step.expect_trap is not None:
            yield "going on after a trap"


def count_steps(steps: Iterable[s.Step]) -> int:
    """Return how many steps run at the least; a loop whose number of rounds is no literal counts once."""
    total = 0
    for step in steps:
        total += 1
        if isinstance(step, s.Repeat):
            rounds = 1 if step.times.variables() else step.times.evaluate(_no_variable)
            total += rounds * count_steps(step.steps)
        elif isinstance(step, s.For):
            total += len(step.values) * count_steps(step.steps)
    return total


def _no_variable(name: str) -> int:
    raise KeyError(name)


def walk_steps(steps: Iterable[s.Step]) -> Iterator[s.Step]:
    """Yield all steps, those inside loops as well."""
    for step in steps:
        yield step
        if isinstance(step, (s.Repeat, s.For)):
            yield from walk_steps(step.steps)
