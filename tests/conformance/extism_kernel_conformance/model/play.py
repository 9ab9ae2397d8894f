"""Plays programs: random ones as they are invented, and known ones again to make them shorter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from extism_kernel_conformance.model.contract import Model
from extism_kernel_conformance.model.machine import KernelTrapError
from extism_kernel_conformance.model.operations import BrokenPromiseError, ForgivenError, Operation
from extism_kernel_conformance.model.programs import THEMES, Inventor
from extism_kernel_conformance.model.ranges import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from extism_kernel_conformance.model.machine import Workshop
    from extism_kernel_conformance.model.operations import Fault

CHECK_EVERY = 12
"""Operations between two looks at all that is in memory."""
PROBES = (1, 100, 1000)
LAST = (Operation("reset"), Operation("alloc", (1000,), 0))
"""How every program ends: another life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A program on whose last operation a kernel broke a promise."""

    pages: int
    program: tuple[Operation, ...]
    error: BrokenPromiseError


class Players:
    """Plays programs on fresh instances of one kernel."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.forgiven: set[Fault] = set()
        """Faults that programs go on after, if they can."""
        self._bottom = 0
        self.is_exact = self._is_laid_out_as_drawn()
        self.programs = 0

    def _is_laid_out_as_drawn(self) -> bool:
        """Return whether blocks follow each other as CONTRACT.md draws it: then handles can be predicted."""
        machine = self._workshop.instantiate(max(4, self._workshop.kernel.initial_pages))
        try:
            handles = [machine.call("alloc", length) for length in PROBES]
        except KernelTrapError:
            return False
        self._bottom = handles[0]
        steps = [after - before for before, after in itertools.pairwise(handles)]
        return handles[0] % 16 == 0 and steps == [size_of(length) for length in PROBES[:-1]]

    def _model(self, pages: int) -> Model:
        machine = self._workshop.instantiate(max(pages, self._workshop.kernel.initial_pages))
        return Model(
            machine,
            max(pages, machine.pages()),
            bottom=self._bottom,
            is_exact=self.is_exact,
            forgiven=self.forgiven,
        )

    def invent(self, random: Random) -> Broken | None:
        """Play one random program; return it if the kernel broke a promise."""
        self.programs += 1
        theme = random.choice(THEMES)
        pages = random.choice(theme.pages)
        model, inventor = self._model(pages), Inventor(random, theme)
        program: list[Operation] = []
        try:
            for turn in range(random.randint(theme.length // 4, theme.length)):
                for operation in inventor.invent(model):
                    if model.applies(operation):
                        program.append(operation)
                        model.play(operation)
                if turn % CHECK_EVERY == 0:
                    model.check()
            model.check()
            for operation in LAST:
                program.append(operation)
                model.play(operation)
            model.check()
        except BrokenPromiseError as error:
            return Broken(pages=model.limit, program=tuple(program), error=error)
        except ForgivenError:
            return None
        return None

    def again(self, pages: int, program: Sequence[Operation], *, looks: bool) -> Broken | None:
        """Play a program again until a promise is broken.

        All that can be seen is looked at after the last operation, and if `looks` after each.
        """
        model = self._model(pages)
        played: list[Operation] = []
        try:
            for operation in program:
                if model.applies(operation):
                    played.append(operation)
                    model.play(operation)
                    if looks:
                        model.check()
            model.check()
        except BrokenPromiseError as error:
            return Broken(pages=model.limit, program=tuple(played), error=error)
        except ForgivenError:
            return None
        return None
