"""The profiles: which steps the cases of a profile may hold. The player of each stands in `players`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.cases import sdk_steps, step_makers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_conformance.cases.step_parser import Json, StepParser
    from extism_kernel_conformance.cases.steps import Step

    Makers = Mapping[str, Callable[[StepParser, Json, str], Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A vocabulary of steps: what may stand in a case, and how each step is read."""

    name: str
    keys: Mapping[str, tuple[str, ...]]
    makers: Makers


PROFILES: Mapping[str, Profile] = {
    "kernel": Profile(name="kernel", keys=step_makers.KEYS, makers=step_makers.MAKERS),
    "sdk": Profile(name="sdk", keys=sdk_steps.KEYS, makers=sdk_steps.MAKERS),
}


def find_profile(name: object) -> Profile | None:
    """Return the profile of that name, or None."""
    return PROFILES.get(name) if isinstance(name, str) else None
