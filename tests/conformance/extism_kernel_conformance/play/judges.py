"""Holds answers against what a step expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.wasm.module import limit_memory

if TYPE_CHECKING:
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
            address = self.address if isinstance(self.address, int) else self.address.value()
            expected = f"{self.length} bytes at {address + self.start}"
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
            expected=f"{self.wanted[shown].hex()}{place}",
            got=f"{found[shown].hex()}{place}",
        )


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


def judge_trap(answer: Answer, step: s.Call) -> None:
    """Raise CaseFailed for a trap that was not expected, and for one that was and did not come."""
    trapped = answer["kind"] if answer["result"] == "trap" else None
    if step.expect_trap is None and trapped is not None:
        raise CaseFailed(where=step.where, expected=f"`{step.name}` returns", got=show_trap(answer))
    if step.expect_trap is not None and (trapped is None or step.expect_trap not in {"any", trapped}):
        kind = "a trap" if step.expect_trap == "any" else f"trap {step.expect_trap}"
        got = f"`{step.name}` returned" if trapped is None else show_trap(answer)
        raise CaseFailed(where=step.where, expected=kind, got=got)


def show_trap(answer: Answer) -> str:
    """Return a trap as reports have it."""
    return f"trap {answer['kind']}"


def require_supported(answer: Answer, what: str) -> None:
    """Raise AdapterFault for `unsupported`: what a case needs was probed before it was played."""
    if answer["result"] == "unsupported":
        raise AdapterFault(
            "adapter-unsupported", f"`{what}` was answered `unsupported`, but it worked before"
        )
