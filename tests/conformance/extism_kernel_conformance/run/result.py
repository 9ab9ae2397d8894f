"""What a run comes to, as values: the facts of a runtime, and the result of one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_conformance.base.outcome import Outcome
    from extism_kernel_conformance.cases.load import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case, or one lint check, with its outcome."""

    case: Case | None
    id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """What a configuration turned out to be once its adapter had greeted."""

    runtime: str
    version: str
    adapter: str
    capabilities: frozenset[str]
    kernel: str = ""
    """What the adapter of an SDK says of the kernel it runs: a digest, `embedded` or `none`."""
