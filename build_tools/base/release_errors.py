"""The errors of packaging and publishing, in the family of `build_tools.base.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.errors import BuildToolsError, ExitCode, render

if TYPE_CHECKING:
    from build_tools.base.model import Finding


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
    """A release has findings; nothing was uploaded."""

    code = "release-refused"
    exit_code = ExitCode.RELEASE_REFUSED

    def __init__(self, findings: list[Finding], *, where: str) -> None:
        lines = [
            render(finding.code, finding.message, where=finding.where, hint=finding.hint, level="finding")
            for finding in findings
        ]
        said = "\n".join(lines)
        super().__init__(f"{len(findings)} finding(s); nothing was uploaded\n{said}", where=where)
        self.findings = tuple(findings)


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
