"""Verdicts on disk, so that a campaign can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from .campaign import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from extism_kernel_conformance.cases.load import Case

    from .operators import Mutant


class ResumeError(ValueError):
    """The file holds no verdicts, or those of another kernel."""


class Ledger:
    """Mutants that were killed by a case that has not changed since; survivors are tried again."""

    def __init__(self, path: Path | None, kernel: bytes, cases: Iterable[Case]) -> None:
        """Read the file, if there is one. Raises ResumeError."""
        self._path = path
        self._cases = {case.id: _digest(case) for case in cases}
        self._kernel = hashlib.sha256(kernel).hexdigest()
        self._killed: dict[int, str] = {}
        if path is not None and path.is_file():
            self._read(path)

    def find(self, mutants: Sequence[Mutant], chosen: Sequence[int]) -> dict[int, Verdict]:
        """Return the verdicts that still hold, by the number of the mutant."""
        return {
            number: Verdict(mutant=mutants[number], killer=self._killed[number])
            for number in chosen
            if number in self._killed
        }

    def note(self, number: int, verdict: Verdict) -> None:
        """Add what a case killed to the file, as a line of JSON.

        A call without end is judged by the clock, so such a mutant is tried again.
        """
        case = self._cases.get(verdict.killer)
        if self._path is None or case is None:
            return
        line = {"kernel": self._kernel, "number": number, "killer": verdict.killer, "case": case}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self, path: Path) -> None:
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = json.loads(text)
                kernel, mutant, killer, case = (line[key] for key in ("kernel", "number", "killer", "case"))
            except (ValueError, KeyError, TypeError) as error:
                raise ResumeError(
                    f"{path.name}, line {number}: this is no line of --resume, or only a part of one; "
                    f"remove it: {error!r}"
                ) from None
            if kernel != self._kernel:
                raise ResumeError(
                    f"{path.name} has the verdicts of kernel {kernel[:16]}; give another file, or remove it"
                )
            if self._cases.get(killer) == case:
                self._killed[mutant] = killer


def _digest(case: Case) -> str:
    return hashlib.sha256(json.dumps(case.raw, sort_keys=True).encode()).hexdigest()
