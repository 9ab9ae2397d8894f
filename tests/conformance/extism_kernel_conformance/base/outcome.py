"""How a case ends: the failure that ends it early, and the outcome that goes into the report."""

from __future__ import annotations

from dataclasses import dataclass

VERDICTS = ("pass", "fail", "skip", "xfail", "xpass", "error", "timeout", "crash")
RED = frozenset({"fail", "xpass", "error", "timeout", "crash"})
"""Verdicts that turn a run red; `fail` of a case of level `may` does not."""


class CaseFailed(Exception):  # noqa: N818 - the ordinary end of a case that a kernel fails
    """A promise was not kept: at which step, what was expected, what came."""

    def __init__(
        self, *, where: str, expected: str, got: str, call: str = "", is_unsupported: bool = False
    ) -> None:
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.where = where
        self.call = call
        self.expected = expected
        self.got = got
        self.is_unsupported = is_unsupported


class CaseSkipped(Exception):  # noqa: N818 - as above
    """The case asks for something that this configuration lacks; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one case on one runtime, before or after known failures are taken into account."""

    verdict: str
    step: str = ""
    call: str = ""
    """What was called, with its arguments, where the step is a call or a read."""
    expected: str = ""
    got: str = ""
    fault: str = ""
    """Code of an adapter's fault, empty if the kernel was judged."""
    message: str = ""
    why: str = ""
    link: str = ""
    milliseconds: int = 0
