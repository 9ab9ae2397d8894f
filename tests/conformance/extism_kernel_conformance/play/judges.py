"""Holds answers against what a step expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.play.variables import number_of
from extism_kernel_conformance.wasm.module import limit_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.cases import steps as s
    from extism_kernel_conformance.play.variables import Sum
    from extism_kernel_conformance.wasm.module import Kernel

_SHOWN_BYTES = 16


@dataclass(frozen=True, slots=True)
class ReadJudge:
    """Compares one chunk; holds what the comparison needs, because answers come later."""

    step: s.Read
    address: int | Sum
    start: int
    length: int
    wanted: bytes | None

    def __call__(self, answer: Answer) -> None:
        require_supported(answer, "read")
        if answer["result"] != "ok":
            expected = f"{self.length} bytes at {self._place()}"
            raise CaseFailed(where=self.step.where, expected=expected, got=show_trap(answer))
        if self.wanted is not None and answer["bytes"] == self.wanted.hex():
            return
        found = bytes.fromhex(answer["bytes"])
        if len(found) != self.length:
            message = f"a read of {self.length} bytes was answered with {len(found)}"
            raise AdapterFault("adapter-answer", message)
        if self.wanted is None:
            return
        at = next(i for i, (a, b) in enumerate(zip(found, self.wanted, strict=True)) if a != b)
        is_short = self.length <= _SHOWN_BYTES
        start, place = (0, "") if is_short else (at, f" at +{at}")
        shown = slice(start, start + _SHOWN_BYTES)
        raise CaseFailed(
            where=self.step.where,
            call=f"read {self.length} bytes at {self._place()}",
            expected=f"{self.wanted[shown].hex()}{place}",
            got=f"{found[shown].hex()}{place}",
        )

    def _place(self) -> int:
        return (number_of(self.address) or 0) + self.start


def module_bytes(kernel: Kernel, max_pages: int | None) -> bytes:
    """Return the module a case runs on. Raises CaseFailed if it cannot live under the limit."""
    if max_pages is None:
        return kernel.data
    try:
        return limit_memory(kernel, max_pages)
    except ValueError as error:
        raise CaseFailed(
            where="kernel", expected=f"a module that runs in {max_pages} pages", got=str(error)
        ) from None


def judge_trap(answer: Answer, step: s.Call, values: Sequence[int | Sum]) -> None:
    """Raise CaseFailed for a trap that was not expected, and for one that was and did not come."""
    trapped = answer["kind"] if answer["result"] == "trap" else None
    is_due = step.expect_trap is not None
    if trapped is None and not is_due:
        return
    if trapped is not None and is_due and step.expect_trap in {"any", trapped}:
        return
    expected = f"`{step.name}` returns"
    if is_due:
        expected = "a trap" if step.expect_trap == "any" else f"trap {step.expect_trap}"
    got = f"`{step.name}` returned" if trapped is None else show_trap(answer)
    raise CaseFailed(where=step.where, call=show_call(step.name, values), expected=expected, got=got)


def show_call(name: str, values: Sequence[int | Sum]) -> str:
    """Return a call with its arguments as reports have it; `?` is an argument that no answer gave."""
    numbers = [number_of(value) for value in values]
    return f"{name}({', '.join('?' if number is None else str(number) for number in numbers)})"


def show_trap(answer: Answer) -> str:
    """Return a trap as reports have it."""
    return f"trap {answer['kind']}"


def require_supported(answer: Answer, what: str) -> None:
    """Raise AdapterFault for `unsupported`: what a case needs was probed before it was played."""
    if answer["result"] == "unsupported":
        raise AdapterFault(
            "adapter-unsupported", f"`{what}` was answered `unsupported`, but it worked before"
        )
