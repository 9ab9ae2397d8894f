"""Runs the conformance suite and its adapters as what they are: programs of another distribution."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import BuildToolsError, ExitCode, ToolFailedError
from build_tools.base.files import guard_reading
from build_tools.base.process import run
from build_tools.base.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAILURES = frozenset({"fail", "xfail", "xpass", "error", "timeout", "crash"})
UNKNOWN = "unknown"


class ReportUnfitError(BuildToolsError):
    """A report of the suite is not about the kernel, the profile or the cases that are asked for."""

    code = "report-unfit"
    exit_code = ExitCode.MALFORMED_INPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one configuration came to; `lines` are those of the report's cases, by id."""

    configuration: str
    runtime: str
    sha256: str
    """Digest of the kernel that was judged; `unknown`, or `none` for an SDK without a kernel."""
    lines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: str = ""
    """What the machine lacks, with the command that brings it."""
    broken: str = ""

    def ids(self, *verdicts: str) -> set[str]:
        """Return the ids of the cases with one of these verdicts."""
        return {name for name, line in self.lines.items() if line["verdict"] in verdicts}

    @property
    def failed(self) -> set[str]:
        """The ids of cases that do not pass, known to fail or not; `xpass` does pass."""
        return self.ids(*(FAILURES - {"xpass"}))

    @property
    def passed(self) -> set[str]:
        """The ids of cases that pass, listed as known failures or not."""
        return self.ids("pass", "xpass")


def suite_command(root: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return argv and environment of one command of the suite in a checkout."""
    paths = [str(root / "tests" / "conformance"), *filter(None, [os.environ.get("PYTHONPATH")])]
    argv = [sys.executable, "-m", "extism_kernel_conformance", *arguments]
    return argv, {"PYTHONPATH": os.pathsep.join(paths)}


def find_lacking(root: Path) -> dict[str, str | None]:
    """Return for each configuration what this machine lacks, with the command that brings it, or `None`."""
    argv, env = suite_command(root, "adapters", "--json")
    return {each["name"]: each["lacking"] for each in json.loads(run(argv, cwd=root, env=env))}


def judge(root: Path, kernel: Path, configurations: Sequence[str], report: Path, profile: str) -> None:
    """Play the cases of a profile and write the report. Raises ToolFailedError if none was written."""
    chosen = [word for name in configurations for word in ("--adapter", name)]
    arguments = ["run", str(kernel), "--profile", profile, *chosen, "--report", str(report)]
    argv, env = suite_command(root, *arguments)
    report.unlink(missing_ok=True)
    with Progress(f"judging {', '.join(configurations)} (minutes)") as progress:
        try:
            run(argv, cwd=root, env=env, watch=progress.update)
        except ToolFailedError as error:  # a red run is an answer
            if error.returncode != ExitCode.FINDINGS or not report.is_file():
                raise


def read_report(root: Path, report: Path) -> dict[str, Judged]:
    """Return what a report says, by configuration, after the suite's own reader has had it.

    Raises ToolFailedError if the suite refuses it: it breaks the schema, or claims another kernel.
    """
    argv, env = suite_command(root, "report", str(report))
    try:
        run(argv, cwd=root, env=env)
    except ToolFailedError as error:
        if error.returncode != ExitCode.FINDINGS:
            raise
    with guard_reading(report):
        text = report.read_text(encoding="utf-8")
    found: dict[str, Judged] = {}
    header: dict[str, Any] = {}
    lines: dict[str, Mapping[str, Any]] = {}
    for line in map(json.loads, filter(None, text.split("\n"))):
        if line["type"] == "header":
            header, lines = line, {}
        elif line["type"] == "case":
            lines[line["id"]] = line
        elif line["type"] == "footer":
            name = header["configuration"]
            found[name] = Judged(
                configuration=name,
                runtime=f"{header['runtime']['name']} {header['runtime']['version']}".strip(),
                sha256=header["kernel"]["sha256"],
                lines=lines,
                skipped=line.get("skipped", ""),
                broken=line.get("broken", ""),
            )
    return found


def render_matrix(root: Path, report: Path) -> str:
    """Return the suite's tables of a report, as Markdown. Raises ToolFailedError if the suite refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.md"
        argv, env = suite_command(root, "report", str(report), "--markdown", str(path))
        try:
            run(argv, cwd=root, env=env)
        except ToolFailedError as error:
            if error.returncode != ExitCode.FINDINGS:
                raise
        return path.read_text(encoding="utf-8").strip()


def check_kernel(judged: Judged, given: str) -> None:
    """Raise ReportUnfitError if a configuration that takes the kernel was judged with another one."""
    if judged.lines and judged.sha256 != given:
        raise ReportUnfitError(
            f"the kernel judged is {judged.sha256[:16]}, the one given is {given[:16]}",
            where=judged.configuration,
            hint="leave out `--report`, or name the kernel of the report with `--kernel FILE`",
        )
