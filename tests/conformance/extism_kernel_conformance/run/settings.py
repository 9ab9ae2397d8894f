"""What a run was asked to do, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.errors import UsageError
from extism_kernel_conformance.base.resources import suite_info
from extism_kernel_conformance.probe.cases import cases_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.cases.load import Case, CaseSet

DEFAULT_TIMEOUT = 30.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which cases run and how; the defaults are those of the command line."""

    profile: str = "kernel"
    patterns: tuple[str, ...] = ()
    """Substrings of ids (`-k`); a case runs if one of them is in its id."""
    ids: tuple[str, ...] = ()
    """Exact ids (`--case`)."""
    level: tuple[int, int] | None = None
    """Suite level: cases newer than this minor version are left out."""
    skip_slow: bool = False
    timeout: float = DEFAULT_TIMEOUT
    """Seconds that one answer may take; ten times as long for a case marked slow."""
    lint: bool = True
    install: bool = False
    """Whether what an adapter lacks is fetched into the cache first."""
    fail_fast: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left out, so that the run may rewrite known failures."""
        return not (self.patterns or self.ids or self.level or self.skip_slow or self.fail_fast) and self.lint


def select_cases(case_set: CaseSet, settings: Settings) -> list[Case]:
    """Return the cases a run is about. Raises UsageError for an id that is not there."""
    of_profile = cases_of(case_set, settings.profile)
    known = {case.id for case in of_profile}
    for identifier in settings.ids:
        if identifier not in known:
            raise UsageError(f"there is no case `{identifier}`", hint=_explain_missing(identifier, case_set))
    return [case for case in of_profile if _is_selected(case, settings)]


def parse_level(text: str) -> tuple[int, int]:
    """Read a suite level such as `1.2`. Raises UsageError for anything else, and for one to come."""
    parts = text.split(".")
    if len(parts) not in {2, 3} or not all(part.isdecimal() for part in parts):
        raise UsageError(f"`{text}` is no suite level", hint="write it as `1.2`")
    level, own = (int(parts[0]), int(parts[1])), suite_info().version
    major, minor = (int(part) for part in own.split(".")[:2])
    if level > (major, minor):  # its cases are not here: a green run would leave them out
        raise UsageError(
            f"suite level {text} is newer than this suite, {own}",
            hint=f"install a newer suite, or ask for `--suite-level {major}.{minor}`",
        )
    return level


def _is_selected(case: Case, settings: Settings) -> bool:
    if settings.level is not None and case.since[:2] > settings.level:
        return False
    if settings.skip_slow and case.slow:
        return False
    if not settings.patterns and not settings.ids:
        return True
    return case.id in settings.ids or any(pattern in case.id for pattern in settings.patterns)


def _explain_missing(identifier: str, case_set: CaseSet) -> str:
    for stone in case_set.tombstones:
        if stone.id == identifier:
            return f"it was removed in {'.'.join(map(str, stone.removed))}: {stone.why}"
    topic = identifier.partition("/")[0]
    close: Sequence[str] = [case.id for case in case_set.cases if case.id.startswith(f"{topic}/")]
    return f"in `{topic}` there are {', '.join(close[:6])}" if close else "see `cases --list`"
