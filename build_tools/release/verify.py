"""Tells what a vendored kernel is: one of ours, of which version and flavour, stale, altered, or not ours.

Offline: digests of released kernels are kept in `extism_kernel_pkg/known_digests.json`, those of the present
one in the staged `kernel_info.json`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import BuildToolsError
from build_tools.base.files import sha256_of
from build_tools.kernel.values import VERSION_SECTION
from build_tools.release.scan import find_modules
from build_tools.wasm.sections import find_custom, read_export_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from build_tools.release.known import KnownKernel
    from build_tools.release.scan import FoundModule

__all__ = ["Answer", "Identified", "exit_code", "identify", "verify"]

KERNEL_FUNCTIONS = ("alloc", "free", "length", "load_u8", "store_u8", "input_set", "output_set")
KERNEL_EXPORTS = frozenset({"memory", *KERNEL_FUNCTIONS})
FIRST_EXPORTS = frozenset({"memory", *(f"extism_{name}" for name in KERNEL_FUNCTIONS)})
CONTEXT_GLOBAL = "extism_context"
MARKS = (b"extism_alloc", VERSION_SECTION.encode())
"""Bytes that betray a kernel whose sections cannot be read."""


class Answer(enum.Enum):
    """What a module is; `exit_code` is the number that `verify` ends with if it is the worst answer."""

    CURRENT = "current"
    STALE = "stale"
    UNRECORDED = "unrecorded"
    UNSTAMPED = "unstamped"
    ALTERED = "altered"
    FOREIGN = "foreign"

    @property
    def exit_code(self) -> int:
        """0, or a number from 10 on that no other command uses."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Answer.CURRENT: 0,
    Answer.STALE: 10,
    Answer.UNRECORDED: 11,
    Answer.UNSTAMPED: 12,
    Answer.ALTERED: 13,
    Answer.FOREIGN: 14,
}
NOTHING_FOUND_EXIT = 15
_WORST_FIRST = (Answer.ALTERED, Answer.UNSTAMPED, Answer.UNRECORDED, Answer.STALE, Answer.CURRENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """One module and what it is; `version` and `flavour` are None where they cannot be known."""

    where: str
    sha256: str
    answer: Answer
    version: str | None
    flavour: str | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "where": self.where,
            "sha256": self.sha256,
            "answer": self.answer.value,
            "version": self.version,
            "flavour": self.flavour,
            "reason": self.reason,
        }


def verify(path: Path, known: Sequence[KnownKernel]) -> Iterator[Identified]:
    """Yield what each module at a path is. Modules that are no kernels are left out unless named."""
    for found in find_modules(path):
        identified = identify(found, known)
        if identified.answer is not Answer.FOREIGN or found.where == str(path):
            yield identified


def exit_code(identified: Iterable[Identified]) -> int:
    """Return the exit code for all answers: that of the worst, or 15 if no kernel was found."""
    answers = {each.answer for each in identified}
    for answer in _WORST_FIRST:
        if answer in answers:
            return answer.exit_code
    return Answer.FOREIGN.exit_code if answers else NOTHING_FOUND_EXIT


def identify(found: FoundModule, known: Sequence[KnownKernel]) -> Identified:
    """Say what one module is."""
    sha256 = sha256_of(found.data)
    on_record = next((kernel for kernel in known if kernel.sha256 == sha256), None)
    if on_record is not None:
        answer, version, flavour, reason = _recorded(on_record, known)
    else:
        answer, version, flavour, reason = _unrecorded(found.data, known)
    return Identified(
        where=found.where, sha256=sha256, answer=answer, version=version, flavour=flavour, reason=reason
    )


Facts = tuple[Answer, "str | None", "str | None", str]


def _recorded(kernel: KnownKernel, known: Sequence[KnownKernel]) -> Facts:
    if kernel.is_current:
        return Answer.CURRENT, kernel.version, kernel.flavour, "the newest kernel on record, unchanged"
    newest = next(other.version for other in known if other.is_current)
    return Answer.STALE, kernel.version, kernel.flavour, f"unchanged, but {newest} is newer"


def _unrecorded(data: bytes, known: Sequence[KnownKernel]) -> Facts:
    try:
        names = read_export_names(data)
        stamp = find_custom(data, VERSION_SECTION)
    except BuildToolsError as error:
        if any(mark in data for mark in MARKS):
            return Answer.ALTERED, None, None, f"a kernel that does not hold together: {error.message}"
        return Answer.FOREIGN, None, None, f"a module that does not hold together: {error.message}"
    flavour = "context" if CONTEXT_GLOBAL in names else "core"
    if stamp is not None:
        version = stamp.decode("utf-8", "replace")
        if any(kernel.version == version for kernel in known):
            reason = f"says it is {version}, but its digest is none of that version's"
            return Answer.ALTERED, version, flavour, reason
        return Answer.UNRECORDED, version, flavour, f"says it is {version}, a version that is not on record"
    if names >= KERNEL_EXPORTS or names >= FIRST_EXPORTS:
        reason = "exports what a kernel exports, but carries no version: not one of ours, or stripped"
        return Answer.UNSTAMPED, None, flavour, reason
    return Answer.FOREIGN, None, None, "a WebAssembly module, but no Extism kernel"
