"""Verdicts on disk, so that a campaign can be stopped and resumed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from .campaign import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from extism_kernel_conformance.cases.load import Case

    from .operators import Mutant


class ResumeError(ValueError):
    """The file holds no verdicts, or those of another kernel."""


class Ledger:
    """Which case killed a mutant, and which cases it survived. What a case said holds while it is unchanged.

    Each line is an object with the `kernel`, a sha256. A line with `cases`, a list of digests, says what the
    survivors in the lines after it were tried with. All other lines have the `number` of a mutant, its
    `killer`, empty for a survivor, and the digest of that `case`.
    """

    def __init__(self, path: Path | None, kernel: bytes, cases: Mapping[str, Case]) -> None:
        """Read the file, if there is one. Raises ResumeError."""
        self._path = path
        self._digests = {identifier: _digest(case) for identifier, case in cases.items()}
        self._kernel = hashlib.sha256(kernel).hexdigest()
        self._killed: dict[int, str] = {}
        self._survived: dict[int, set[str]] = {}
        self._says_cases = False
        if path is not None and path.is_file():
            self._read(path)

    def find(self, mutants: Sequence[Mutant], chosen: Sequence[int]) -> dict[int, Verdict]:
        """Return the verdicts that still hold, by the number of the mutant; a survivor was tried with all."""
        known = {number: killer for number, killer in self._killed.items() if killer in self._digests}
        for number in chosen:
            if number not in known and self.find_survived(number) == self._digests.keys():
                known[number] = ""
        return {
            number: Verdict(mutant=mutants[number], killer=known[number])
            for number in chosen
            if number in known
        }

    def find_survived(self, number: int) -> AbstractSet[str]:
        """Return the cases that a mutant was tried with before, and survived."""
        survived = self._survived.get(number, set())
        return {identifier for identifier, digest in self._digests.items() if digest in survived}

    def note(self, number: int, verdict: Verdict, tried: Iterable[str]) -> None:
        """Add a verdict to the file, as a line of JSON. Give the same cases `tried` each time.

        A call without end is judged by the clock, so such a mutant is tried again.
        """
        if self._path is None or verdict.killer not in {"", *self._digests}:
            return
        if verdict.killer:
            self._append({"number": number, "killer": verdict.killer, "case": self._digests[verdict.killer]})
            return
        if not self._says_cases:
            self._append({"cases": sorted(self._digests[identifier] for identifier in tried)})
            self._says_cases = True
        self._append({"number": number, "killer": "", "case": ""})

    def _append(self, line: Mapping[str, object]) -> None:
        assert self._path is not None
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kernel": self._kernel, **line}) + "\n")

    def _read(self, path: Path) -> None:
        tried: Sequence[str] = ()
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = json.loads(text)
                kernel = line["kernel"]
                if "cases" in line:
                    tried = [str(each) for each in line["cases"]]
                    mutant = None
                else:
                    mutant, killer, case = (line[key] for key in ("number", "killer", "case"))
            except (ValueError, KeyError, TypeError) as error:
                raise ResumeError(
                    f"{path.name}, line {number}: this is no line of --resume, or only a part of one; "
                    f"remove it: {error!r}"
                ) from None
            if kernel != self._kernel:
                raise ResumeError(
                    f"{path.name} has the verdicts of kernel {kernel[:16]}; give another file, or remove it"
                )
            if mutant is None:
                continue
            if killer and self._digests.get(killer) == case:
                self._killed[mutant] = killer
            elif not killer:
                self._survived.setdefault(mutant, set()).update(tried)


def _digest(case: Case) -> str:
    return hashlib.sha256(json.dumps(case.raw, sort_keys=True).encode()).hexdigest()
