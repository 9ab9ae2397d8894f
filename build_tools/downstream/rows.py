"""What a comparison comes to, as values; `summarize` counts, `to_data` makes JSON of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from build_tools.downstream.workloads import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.downstream.go_tests import TestRun
    from build_tools.downstream.plugins import Compared
    from build_tools.downstream.sdks import Sdk
    from build_tools.downstream.suite import Judged
    from build_tools.downstream.workloads import Unmeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that is known of one SDK; parts that were not asked for, or cannot be, are empty."""

    sdk: Sdk
    shipped: Judged | None = None
    given: Judged | None = None
    tests: tuple[TestRun, TestRun] | None = None
    """Its own tests as shipped and with the kernel given."""
    ratios: Sequence[Ratio | Unmeasured] = field(default_factory=tuple)
    plugins: Sequence[Compared] = field(default_factory=tuple)
    skipped: str = ""
    """What the machine lacks, with the command that brings it."""

    @property
    def disappeared(self) -> set[str]:
        """Cases that fail as shipped and pass with the kernel given."""
        return self.shipped.failed & self.given.passed if self.shipped and self.given else set()

    @property
    def remaining(self) -> set[str]:
        """Cases that fail with either kernel: the SDK's own, or its engine's."""
        return self.shipped.failed & self.given.failed if self.shipped and self.given else set()

    @property
    def worse(self) -> set[str]:
        """Cases and own tests that pass as shipped and do not with the kernel given."""
        found = self.shipped.passed - self.given.passed if self.shipped and self.given else set()
        if self.tests:
            shipped, given = self.tests
            worse = shipped.passed - given.passed - given.unfinished
            found |= {f"own test {name}" for name in worse}
        return found | {f"plug-in {each.name}" for each in self.plugins if each.difference}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Where and of what the comparison was made."""

    date: str
    machine: str
    command: str
    kernel_file: str
    sha256: str
    size: int
    version: str


def to_data(facts: Facts, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything for JSON."""
    return {"facts": dataclasses.asdict(facts), "sdks": [_outcome_to_data(each) for each in outcomes]}


def _outcome_to_data(outcome: Outcome) -> dict[str, Any]:
    sdk = outcome.sdk
    data: dict[str, Any] = {"sdk": sdk.name, "package": sdk.package, "way": sdk.way}
    if outcome.skipped:
        data["skipped"] = outcome.skipped
    for name, judged in (("as_shipped", outcome.shipped), ("with_kernel", outcome.given)):
        if judged is not None:
            data[name] = {
                "runtime": judged.runtime,
                "sha256": judged.sha256,
                "passed": len(judged.passed),
                "failed": sorted(judged.failed),
                "skipped": len(judged.ids("skip")),
            }
    if outcome.shipped and outcome.given:
        data["disappeared"] = sorted(outcome.disappeared)
        data["remaining"] = sorted(outcome.remaining)
        data["worse"] = sorted(outcome.worse)
    if outcome.tests:
        data["own_tests"] = [
            {
                "passed": len(each.passed),
                "failed": sorted(each.failed),
                "unfinished": sorted(each.unfinished),
            }
            for each in outcome.tests
        ]
    data["workloads"] = [dataclasses.asdict(each) for each in outcome.ratios]
    data["plugins"] = [dataclasses.asdict(each) for each in outcome.plugins]
    return data


def measured(outcome: Outcome) -> list[Ratio]:
    """Return the workloads that both could do."""
    return [each for each in outcome.ratios if isinstance(each, Ratio)]
