"""What is known of a call step before it is sent, and what holds its answer against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.adapter.typed_values import read_result
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.play.judges import judge_trap, require_supported, show_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.cases import steps as s
    from extism_kernel_conformance.cases.relations import ResolvedExpectation
    from extism_kernel_conformance.play.variables import Cell, PromisedExpectation, Sum


@dataclass(slots=True)
class Budget:
    """What the calls of a `repeat` may use together, and what they used so far."""

    where: str
    limit: int
    used: int = 0

    def spend(self, answer: Answer) -> None:
        if "used" not in answer:
            raise AdapterFault(
                "adapter-answer", "a call with `fuel` was answered without `used`, but it worked before"
            )
        self.used += int(answer["used"])
        if self.used > self.limit:
            raise CaseFailed(
                where=self.where,
                expected=f"all calls together to use at most {self.limit} fuel",
                got=f"more than {self.limit} fuel",
            )


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What is the same in every round of one call step: its type, and all arguments if they are constant."""

    signature: str
    types: tuple[str, ...]
    args: tuple[str, ...] | None
    values: tuple[int, ...]
    expectation: ResolvedExpectation | None
    """Set if it is constant too."""


@dataclass(slots=True)  # not frozen: made so often that it shows
class CallJudge:
    """Holds the answer to one call against its step."""

    step: s.Call
    signature: str
    values: Sequence[int | Sum]
    cell: Cell
    expectation: ResolvedExpectation | PromisedExpectation | None
    budgets: tuple[Budget, ...]

    def __call__(self, answer: Answer) -> None:
        step = self.step
        if answer["result"] != "ok" or step.expect_trap is not None:
            require_supported(answer, "call")
            judge_trap(answer, step, self.values)
            return
        for budget in self.budgets:
            budget.spend(answer)
        value = self.cell.value = read_result(answer["values"], self.signature, step.name)
        expectation = self.expectation
        if expectation is None:
            return
        resolved = expectation.resolve()
        if value is None or not resolved.holds(value):
            call = show_call(step.name, self.values)
            raise CaseFailed(where=step.where, call=call, expected=resolved.describe(), got=str(value))
