"""The cases against one kernel after the other, in this process."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.errors import SuiteError
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.base.resources import contract_types
from extism_kernel_conformance.cases.load import Case, load_cases
from extism_kernel_conformance.cases.steps import Cut, Repeat, Step
from extism_kernel_conformance.play.machine import Machine
from extism_kernel_conformance.wasm.module import Kernel, limit_memory, parse_kernel

from .meter import add_meter
from .replay import Recorder
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MOST_PAGES = 1024
"""Memory of an instance where the case sets no limit; a broken kernel must not take the machine's."""

LEFT_OUT = frozenset(("reset/hundred-thousand-calls", "hosts/inputs-of-every-length"))
"""Cases that do not take part, because others see the same in a hundredth of the time:
`reset/many-calls-use-the-memory-of-the-largest` and `alloc/every-length-is-exact`. The slow ones above 2 GiB
do: only they tell signed from unsigned addresses."""
PATIENCE = 30.0
"""Seconds of CPU time that a case may take on a broken kernel: many times what any takes on a whole one."""
ALL_PAGES = 65536
"""The same for slow cases, which need more."""


class Trial:
    """Cases that any number of kernels can be tried on."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = {case.id: case for case in cases}
        self._subject = Subject(contract_types())

    def accept(self, module: bytes) -> Kernel | None:
        """Return the metered kernel with the facts of the plain one, None if it does not validate.

        Modules accepted before are forgotten.
        """
        self._subject.forget()
        if not self._subject.is_valid(module):
            return None
        try:
            return self.with_code(module, add_meter(module))
        except (SuiteError, ValueError):
            return None

    def with_code(self, module: bytes, metered: bytes) -> Kernel:
        """Return a kernel with the facts of the plain module and the code of one that does the same."""
        again = parse_kernel(metered)
        return replace(parse_kernel(module), data=again.data, memory_section=again.memory_section)

    def limit(self, kernel: Kernel) -> dict[str, bytes]:
        """Return the module with each maximum of memory that a case sets, the maximum as the key."""
        limits = {_pages(case) for case in self.cases.values()}
        return {str(pages): limit_memory(kernel, pages) for pages in limits if pages >= kernel.initial_pages}

    def play(self, case: Case, kernel: Kernel, patience: float = PATIENCE) -> str | None:
        """Return what a case found wrong with a kernel, None if it passes in `patience` CPU seconds."""
        self._subject.counts_bytes = _counts_bytes(case)
        self._subject.deadline = time.process_time() + patience
        try:
            Machine(self._subject, kernel, max_pages=_pages(case)).play(case.setup, case.steps)
        except (CaseFailed, AdapterFault) as failure:
            return str(failure)
        return None

    def record(self, case: Case, kernel: Kernel) -> tuple[str | None, dict[str, object]]:
        """Play a case and return, beside what it found, what was asked and answered."""
        recorder = Recorder(with_cost=_adds_costs(case.steps))
        self._subject.on_answer = recorder.note
        try:
            found = self.play(case, kernel, math.inf)
        finally:
            self._subject.on_answer = None
        return found, {
            "id": case.id,
            "pages": str(_pages(case)),
            "bytes": _counts_bytes(case),
            "ops": recorder.operations,
        }


def load_trial_cases(folder: Path) -> list[Case]:
    """Return the cases of the kernel profile that take part."""
    cases = [case for case in load_cases(folder).cases if case.profile == "kernel"]
    return [case for case in cases if case.id not in LEFT_OUT]


def _counts_bytes(case: Case) -> bool:
    """Whether a byte filled counts as an instruction (C-3). A cut between two of them shows nothing new."""
    return not any(isinstance(step, Cut) for step in case.steps)


def _adds_costs(steps: Sequence[Step]) -> bool:
    return any(isinstance(step, Repeat) and step.fuel is not None for step in steps)


def _pages(case: Case) -> int:
    return case.max_pages or (ALL_PAGES if case.slow else MOST_PAGES)
