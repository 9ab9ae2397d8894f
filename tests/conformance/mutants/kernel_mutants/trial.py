"""One kernel against the cases, in this process: the first case it fails, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from extism_kernel_conformance.cases import Case, load_cases
from extism_kernel_conformance.errors import SuiteError
from extism_kernel_conformance.machine import Machine
from extism_kernel_conformance.outcome import CaseFailed
from extism_kernel_conformance.process import AdapterFault
from extism_kernel_conformance.resources import contract_types
from extism_kernel_conformance.wasm import Kernel, parse_kernel

from .subject import Subject


class Trial:
    """Cases to be tried on one kernel after the other."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = {case.id: case for case in cases}
        self._subject = Subject(contract_types())

    def accept(self, module: bytes) -> Kernel | None:
        """Return the next module as a kernel, or None if it does not validate; forget the ones before it."""
        self._subject.forget_modules()
        if not self._subject.validate(module):
            return None
        try:
            return parse_kernel(module)
        except SuiteError:
            return None

    def accept_also(self, module: bytes) -> Kernel:
        """Return another form of the same kernel, which is known to validate."""
        return parse_kernel(module)

    def play(self, case: Case, kernel: Kernel) -> str | None:
        """Return what a case found wrong with a kernel, None if it passes."""
        try:
            Machine(self._subject, kernel, max_pages=case.max_pages).play(case.setup, case.steps)
        except (CaseFailed, AdapterFault) as failure:
            return str(failure)
        finally:
            self._subject.forget_instances()
        return None


def load_quick_cases(folder: Path) -> list[Case]:
    """Return the cases of the kernel profile that are not marked slow."""
    return [case for case in load_cases(folder).cases if case.profile == "kernel" and not case.slow]
