"""`verify`: every kernel in files and folders, and what the answer is as a whole."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_pkg.vendored.blob import Blob
from extism_kernel_pkg.vendored.budget import Budget
from extism_kernel_pkg.vendored.identify import Answer, Identified
from extism_kernel_pkg.vendored.scan import Item, Skipped, scan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from extism_kernel_pkg.vendored.known import KnownKernels

HISTORY = frozenset({".git", ".hg", ".svn"})
"""Folders of version control, which are left out unless named: what they hold is compressed and old."""
NOTHING_EXIT, INCOMPLETE_EXIT = 15, 16
NOTHING, INCOMPLETE = "nothing", "incomplete"
_WORST_FIRST = (
    Answer.ALTERED,
    Answer.UNKNOWN,
    Answer.REBUILT,
    Answer.STALE,
    Answer.UPSTREAM_STALE,
    Answer.UPSTREAM,
)
ALLOWANCES = (*(answer.value for answer in _WORST_FIRST), NOTHING, INCOMPLETE)
"""What may be let through; `upstream` lets through its older kernels, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found, what could not be looked into, and how many files were."""

    paths: tuple[str, ...]
    kernels: tuple[Identified, ...]
    skipped: tuple[Skipped, ...]
    files: int
    allowed: frozenset[str]

    @property
    def exit_code(self) -> int:
        """The exit code of the worst answer that is not allowed; of what is missing only after these."""
        answers = {kernel.facts.answer for kernel in self.kernels}
        for answer in _WORST_FIRST:
            if answer in answers and not self.is_allowed(answer):
                return answer.exit_code
        if self.skipped and INCOMPLETE not in self.allowed:
            return INCOMPLETE_EXIT
        if not self.kernels and NOTHING not in self.allowed:
            return NOTHING_EXIT
        return 0

    def is_allowed(self, answer: Answer) -> bool:
        """Say whether an answer is good, or let through."""
        if answer is Answer.UPSTREAM_STALE and Answer.UPSTREAM.value in self.allowed:
            return True
        return answer is Answer.CURRENT or answer.value in self.allowed


def verify(paths: Sequence[Path], known: KnownKernels, *, allowed: Collection[str] = ()) -> Verification:
    """Look into files and folders. Raises `FileNotFoundError` for a path that does not exist.

    Time, memory and disk are bounded (`budget`); what that leaves out, and what cannot be read, is in
    `skipped`.
    """
    for path in paths:
        path.lstat()
    budget = Budget()
    kernels: list[Identified] = []
    skipped: list[Skipped] = []
    count = 0
    for path in paths:
        for file in _walk(path):
            if isinstance(file, Skipped):
                skipped.append(file)
                continue
            count += 1
            for found in _scan_file(file, known, budget):
                if isinstance(found, Skipped):
                    skipped.append(found)
                else:
                    kernels.append(found)
    return Verification(
        paths=tuple(map(str, paths)),
        kernels=tuple(kernels),
        skipped=tuple(skipped),
        files=count,
        allowed=frozenset(allowed),
    )


def _walk(path: Path) -> Iterator[Path | Skipped]:
    """Yield the files at a path; links to folders are not followed, pipes and devices have no content."""
    if not path.is_dir():
        yield path
        return
    errors: list[OSError] = []
    for folder, names, files in os.walk(path, onerror=errors.append):
        yield from _drain(errors)
        names[:] = sorted(set(names) - HISTORY)
        for name in sorted(files):
            file = Path(folder, name)
            if _is_ordinary(file):
                yield file
    yield from _drain(errors)


def _drain(errors: list[OSError]) -> Iterable[Skipped]:
    while errors:
        error = errors.pop()
        yield Skipped(where=str(error.filename), reason=f"cannot be read ({error.strerror})")


def _is_ordinary(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return not file.is_symlink()  # a dangling link has no content; all else fails when it is opened


def _scan_file(path: Path, known: KnownKernels, budget: Budget) -> Iterator[Identified | Skipped]:
    where = str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            yield Skipped(where=where, reason="is a pipe or a device; write its content to a file first")
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            budget.begin(size)
            try:
                yield from scan(Item(where=where, blob=Blob(file, 0, size)), known, budget)
            finally:
                budget.finish()
    except OSError as error:
        yield Skipped(where=where, reason=f"cannot be read ({error.strerror or error})")
