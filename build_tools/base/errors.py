"""The one family of errors, and the exit codes that it maps to."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ExitCode(enum.IntEnum):
    """What the process tells its caller; the table in README.md is checked against this."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    TOOLCHAIN = 3
    TOOL_FAILED = 4
    MALFORMED_INPUT = 5
    VERSIONS_DISAGREE = 6
    NOT_REPRODUCIBLE = 7
    RELEASE_REFUSED = 8
    INTERNAL = 70
    INTERRUPTED = 130


class BuildToolsError(Exception):
    """Anything a person can mend.

    `code` is stable and kebab-case; `where` is a file, a command or a place in a module; `hint` is one
    command or one edit, or `None`.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def render(self) -> str:
        """Return the text a person sees, without a trailing newline."""
        return render(self.code, self.message, where=self.where, hint=self.hint)


def render(code: str, message: str, *, where: str | None, hint: str | None, level: str = "error") -> str:
    """Return one fault as text: what is, where, and what to do about it."""
    lines = [f"{level}[{code}]: {message}"]
    if where:
        lines.append(f"  at: {where}")
    if hint:
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


class UsageError(BuildToolsError):
    """The command line asks for something that does not exist or does not fit together."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ToolchainNotFoundError(BuildToolsError):
    """No Rust on this machine can make WebAssembly, and none could be fetched."""

    code = "toolchain-not-found"
    exit_code = ExitCode.TOOLCHAIN

    def __init__(self, tried: Sequence[str], *, hint: str) -> None:
        lines = "".join(f"\n  - {line}" for line in tried)
        super().__init__(f"no Rust toolchain that can make wasm32 was found{lines}", hint=hint)
        self.tried = tuple(tried)


class ToolchainUnfitError(BuildToolsError):
    """The toolchain that was asked for by name cannot make the kernel."""

    code = "toolchain-unfit"
    exit_code = ExitCode.TOOLCHAIN


class DownloadError(BuildToolsError):
    """Something that must come from the network did not come whole."""

    code = "download-failed"
    exit_code = ExitCode.TOOLCHAIN


class PythonEnvironmentError(BuildToolsError):
    """The Python environment of the tools cannot be made or lacks a dependency."""

    code = "environment"
    exit_code = ExitCode.TOOLCHAIN


class ToolNotFoundError(BuildToolsError):
    """A program that a command needs is not on PATH."""

    code = "tool-not-found"
    exit_code = ExitCode.TOOLCHAIN

    def __init__(self, tool: str, *, install: str) -> None:
        super().__init__(f"`{tool}` is not on PATH", hint=f"install it with `{install}`")


class ToolFailedError(BuildToolsError):
    """A program ran and said no; what it said is kept."""

    code = "tool-failed"
    exit_code = ExitCode.TOOL_FAILED

    def __init__(self, command: str, returncode: int, output: str, *, hint: str | None = None) -> None:
        said = output.strip()
        tail = "\n".join(f"  | {line}" for line in said.splitlines()[-40:])
        how = f"was ended by signal {-returncode}" if returncode < 0 else f"ended with code {returncode}"
        super().__init__(f"a tool {how}" + (f"\n{tail}" if tail else ""), where=command, hint=hint)
        self.returncode = returncode
        self.output = output


class ToolTimeoutError(BuildToolsError):
    """A program took longer than it may."""

    code = "tool-timeout"
    exit_code = ExitCode.TOOL_FAILED


class FileSystemError(BuildToolsError):
    """A file could not be read or written; nothing half-written is left."""

    code = "file-system"
    exit_code = ExitCode.TOOL_FAILED


class DiskFullError(FileSystemError):
    """The disk ran full; nothing half-written is left."""

    code = "disk-full"

    def __init__(self, said: str = "nothing half-written was left", *, where: str) -> None:
        hint = "free some space, or set TMPDIR, XDG_CACHE_HOME (1 GB) or `--out` to folders that have it"
        super().__init__(f"the disk is full; {said}", where=where, hint=hint)


class ReadOnlyError(FileSystemError):
    """A place that must be written cannot be."""

    code = "read-only"


class FileMissingError(BuildToolsError):
    """A file that was named, or that the project needs, does not exist."""

    code = "file-missing"
    exit_code = ExitCode.MALFORMED_INPUT


class FileTooLargeError(BuildToolsError):
    """A file is far larger than anything these tools handle; it was not read."""

    code = "file-too-large"
    exit_code = ExitCode.MALFORMED_INPUT


class NotAModuleError(BuildToolsError):
    """Bytes that are no WebAssembly module at all."""

    code = "not-a-module"
    exit_code = ExitCode.MALFORMED_INPUT


class ModuleMalformedError(BuildToolsError):
    """Bytes that start like a module and do not hold together."""

    code = "module-malformed"
    exit_code = ExitCode.MALFORMED_INPUT


class PlaceholderError(BuildToolsError):
    """What the kernel imports to be turned into globals is not of the form that can be."""

    code = "placeholder"
    exit_code = ExitCode.MALFORMED_INPUT

    def __init__(self, problems: Sequence[str]) -> None:
        more = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(
            f"{len(problems)} fault(s) keep the imports from becoming globals{more}",
            where="import module `global`",
            hint="declare `get NAME: () -> T` and `set NAME: (T) -> ()`, T is i32 or i64; only call them",
        )
        self.problems = tuple(problems)


class ContractError(BuildToolsError):
    """`abi.toml` or another of our data files does not say what it must."""

    code = "contract"
    exit_code = ExitCode.MALFORMED_INPUT

    def __init__(self, problems: Sequence[str], *, where: str | Path, hint: str) -> None:
        more = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} fault(s){more}", where=str(where), hint=hint)
        self.problems = tuple(problems)


class VersionError(BuildToolsError):
    """A version is of a form that not every ecosystem orders alike, or two places disagree."""

    code = "version"
    exit_code = ExitCode.VERSIONS_DISAGREE


class FindingsError(BuildToolsError):
    """A module breaks the contract; the findings are part of the message."""

    code = "kernel-refused"
    exit_code = ExitCode.FINDINGS

    def __init__(self, count: int, rendered: str, *, where: str) -> None:
        super().__init__(f"{count} finding(s); nothing was staged\n{rendered}", where=where)
