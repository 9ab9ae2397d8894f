"""The cases against one kernel after the other, in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from extism_kernel_conformance.cases import Case, load_cases
from extism_kernel_conformance.errors import SuiteError
from extism_kernel_conformance.machine import Machine
from extism_kernel_conformance.outcome import CaseFailed
from extism_kernel_conformance.process import AdapterFault
from extism_kernel_conformance.resources import contract_types
from extism_kernel_conformance.wasm import Kernel, limit_memory, parse_kernel

from .meter import add_meter
from .replay import Recorder
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST_PAGES = 1024
"""Memory of an instance where the case sets no limit; a broken kernel must not take the machine's."""

LARGE_CASES = frozenset(
    ("limits/addresses-above-two-gib-work", "limits/two-gib-in-use-are-hidden-after-reset")
)
"""Cases that are slow elsewhere, but not here: only they tell signed from unsigned addresses."""
ALL_PAGES = 65536


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
            plain, metered = parse_kernel(module), parse_kernel(add_meter(module))
        except (SuiteError, ValueError):
            return None
        return replace(plain, data=metered.data, memory_section=metered.memory_section)

    def limit(self, kernel: Kernel) -> dict[str, bytes]:
        """Return the module with each maximum of memory that a case sets, the maximum as the key."""
        limits = {_pages(case) for case in self.cases.values()}
        return {str(pages): limit_memory(kernel, pages) for pages in limits if pages >= kernel.initial_pages}

    def play(self, case: Case, kernel: Kernel) -> str | None:
        """Return what a case found wrong with a kernel, None if it passes."""
        try:
            Machine(self._subject, kernel, max_pages=_pages(case)).play(case.setup, case.steps)
        except (CaseFailed, AdapterFault) as failure:
            return str(failure)
        return None

    def record(self, case: Case, kernel: Kernel) -> tuple[str | None, dict[str, object]]:
        """Play a case and return, beside what it found, what was asked and answered."""
        recorder = Recorder()
        self._subject.on_answer = recorder.note
        try:
            found = self.play(case, kernel)
        finally:
            self._subject.on_answer = None
        return found, {"id": case.id, "pages": str(_pages(case)), "ops": recorder.operations}


def load_quick_cases(folder: Path) -> list[Case]:
    """Return the cases of the kernel profile that are not slow in this process."""
    cases = [case for case in load_cases(folder).cases if case.profile == "kernel"]
    return [case for case in cases if not case.slow or case.id in LARGE_CASES]


def _pages(case: Case) -> int:
    return case.max_pages or (ALL_PAGES if case.id in LARGE_CASES else MOST_PAGES)
