"""Invents cases: plays random programs until a kernel breaks a promise, and makes the program short."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from extism_kernel_conformance.model.case import make_case
from extism_kernel_conformance.model.machine import Workshop
from extism_kernel_conformance.model.play import Players
from extism_kernel_conformance.model.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_conformance.model.play import Broken
    from extism_kernel_conformance.wasm.module import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Invented:
    """A case that a kernel fails, and how long it took to find."""

    clause: str
    kind: str
    seconds: float
    """CPU time until the fault was seen, making it shorter left out."""
    programs: int
    operations: int
    case: dict[str, object]


def invent(kernel: Kernel, *, seconds: float, seed: int) -> Iterator[Invented]:
    """Yield a case for each kind of fault that random programs show, in so many seconds of CPU time.

    A fault that was found is forgiven from then on, so that others can be seen behind it.
    """
    for found, programs, spent, players in _find(Workshop(kernel), seconds, seed):
        yield _make(shrink(players, found), programs, spent)
        players.forgiven.add(found.error.fault)


def invent_against(kernel: Kernel, mutant: Kernel, *, seconds: float, seed: int) -> Invented | None:
    """Return a case that the kernel passes and its mutant fails, None if none is found in time."""
    sound: Players | None = None
    for found, programs, spent, players in _find(Workshop(mutant), seconds, seed):
        sound = sound or Players(Workshop(kernel))
        short = shrink(players, found)
        if sound.again(short.pages, short.program, looks=False) is None:
            return _make(short, programs, spent)
        players.forgiven.add(found.error.fault)
    return None


def _find(workshop: Workshop, seconds: float, seed: int) -> Iterator[tuple[Broken, int, float, Players]]:
    players, spent = Players(workshop), 0.0
    while spent < seconds:
        start = time.process_time()
        found = players.invent(Random(f"{seed}:{players.programs}"))  # noqa: S311 - a choice, no secret
        spent += time.process_time() - start
        if found is not None:
            yield found, players.programs, spent, players


def _make(broken: Broken, programs: int, seconds: float) -> Invented:
    return Invented(
        clause=broken.error.clause,
        kind=broken.error.kind,
        seconds=seconds,
        programs=programs,
        operations=len(broken.program),
        case=make_case(broken),
    )
