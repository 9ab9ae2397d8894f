"""The cases of a profile: those written for it, and for hosts the kernel's cases as probes play them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_conformance.cases.load import Case, CaseSet

PREFIX = "probe/"
"""Stands before the id of a kernel case where a probe plays it."""

_SINCE = (1, 1, 0)
"""The version of the suite that brought probes: who is pinned to a lower level gets none."""


def cases_of(case_set: CaseSet, profile: str) -> list[Case]:
    """Return the cases that a run of a profile is about."""
    written = [case for case in case_set.cases if case.profile == profile]
    if profile != "sdk":
        return written
    return written + [_as_probe(case) for case in case_set.cases if case.profile == "kernel"]


def _as_probe(case: Case) -> Case:
    """Return the same promise under the id it has in the sdk profile.

    Its needs are those of a guest, which the translation finds out, not those of an adapter.
    """
    since = max(case.since, _SINCE)
    return replace(case, id=PREFIX + case.id, since=since, profile="probe", needs=frozenset())
