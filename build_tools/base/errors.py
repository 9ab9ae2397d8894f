"""The one family of errors, and the exit codes that it maps to."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from build_tools.base.findings import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from build_tools.base.findings import Finding


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
    """Anything a person can fix.

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

    def to_data(self) -> dict[str, object]:
        """Return the error for JSON: `error` with what a person would see in parts, and the exit code."""
        parts = {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}
        return {"error": {**parts, "exit_code": int(self.exit_code)}}

    def render(self) -> str:
        """Return the text a person sees, without a trailing newline."""
        return render(self.code, self.message, where=self.where, hint=self.hint)


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


class InvalidArchiveError(BuildToolsError):
    """A wheel, sdist, jar or tarball that does not hold together."""

    code = "archive-malformed"
    exit_code = ExitCode.MALFORMED_INPUT

    def __init__(self, kind: str, where: str, problem: str) -> None:
        super().__init__(f"not a sound {kind}: {problem}", where=where)


class InvalidEpochError(BuildToolsError):
    """SOURCE_DATE_EPOCH is set to something that is no time."""

    code = "epoch-malformed"
    exit_code = ExitCode.USAGE

    def __init__(self, text: str) -> None:
        super().__init__(
            f"SOURCE_DATE_EPOCH is {text!r}, it should be a decimal number of seconds since 1970",
            where="environment",
            hint="unset SOURCE_DATE_EPOCH, or set it to `$(git log -1 --format=%ct)`",
        )


class BuildFailedError(BuildToolsError):
    """The build frontend ran and did not leave what it should."""

    code = "build-failed"
    exit_code = ExitCode.TOOL_FAILED


class NotReproducibleError(BuildToolsError):
    """Two builds of the same sources differ."""

    code = "not-reproducible"
    exit_code = ExitCode.NOT_REPRODUCIBLE


class ReleaseRefusedError(BuildToolsError):
    """A release has findings; nothing was changed or uploaded."""

    code = "release-refused"
    exit_code = ExitCode.RELEASE_REFUSED

    def __init__(self, findings: list[Finding], *, where: str) -> None:
        lines = [
            render(finding.code, finding.message, where=finding.where, hint=finding.hint, level="finding")
            for finding in findings
        ]
        said = "\n".join(lines)
        super().__init__(f"{len(findings)} finding(s); nothing was changed or uploaded\n{said}", where=where)
        self.findings = tuple(findings)


class SiteRefusedError(BuildToolsError):
    """Links of the site lead nowhere, or it would load something from elsewhere; none was written."""

    code = "site-refused"
    exit_code = ExitCode.FINDINGS

    def __init__(self, rendered: str, *, where: str) -> None:
        super().__init__(
            f"no site was written\n{rendered}", where=where, hint="correct the Markdown that is named"
        )


class IndexUnreachableError(BuildToolsError):
    """The index did not answer, so whether the version is there already cannot be known."""

    code = "index-unreachable"
    exit_code = ExitCode.TOOL_FAILED


class UploadFailedError(BuildToolsError):
    """The index took some files and refused one, or went away."""

    code = "upload-failed"
    exit_code = ExitCode.TOOL_FAILED


class NotStagedError(BuildToolsError):
    """A command needs a staged kernel and there is none."""

    code = "kernel-not-staged"
    exit_code = ExitCode.MALFORMED_INPUT

    def __init__(self, missing: list[str], *, where: str) -> None:
        names = ", ".join(f"`{name}`" for name in missing)
        hint = "python -m build_tools kernel"
        super().__init__(f"no kernel is staged: {names} missing", where=where, hint=hint)


class KernelMismatchError(BuildToolsError):
    """A staged module is not the one that kernel_info.json describes."""

    code = "kernel-altered"
    exit_code = ExitCode.MALFORMED_INPUT

    def __init__(self, name: str, found: str, want: str, *, where: str) -> None:
        super().__init__(
            f"`{name}` has digest {found}, kernel_info.json says {want}",
            where=where,
            hint="python -m build_tools kernel",
        )
