"""The one error family of the suite: what is wrong, where, and what to do about it."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the command line; the numbers are part of its contract."""

    GREEN = 0
    RED = 1
    USAGE = 2
    TOOL = 4
    MALFORMED = 5
    BUG = 70
    INTERRUPTED = 130


class SuiteError(Exception):
    """Something that the user can correct; never a verdict about a kernel."""

    code: ClassVar[str] = "suite"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def render(self) -> str:
        """Return the text that a terminal shows, one to three lines."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class UsageError(SuiteError):
    """The command line asks for something that does not exist or does not fit together."""

    code = "usage"


class KernelMalformedError(SuiteError):
    """The file given as a kernel is not a WebAssembly module the suite can read."""

    code = "kernel-malformed"
    exit_code = ExitCode.MALFORMED


class CasesMalformedError(SuiteError):
    """Case files break the rules; every finding of one reading is in the message."""

    code = "cases-malformed"
    exit_code = ExitCode.MALFORMED


class KnownFailuresMalformedError(SuiteError):
    """A list of known failures breaks its schema."""

    code = "known-failures-malformed"
    exit_code = ExitCode.MALFORMED


class ReportMalformedError(SuiteError):
    """A report is cut short or breaks its schema; a report without a footer is one of these."""

    code = "report-malformed"
    exit_code = ExitCode.MALFORMED


class AdapterMalformedError(SuiteError):
    """An adapter.json breaks its schema, or two adapters claim one name."""

    code = "adapter-malformed"
    exit_code = ExitCode.MALFORMED


class AdapterBuildError(SuiteError):
    """A build command of an adapter failed; the tail of its output is in the message."""

    code = "adapter-build"
    exit_code = ExitCode.TOOL
