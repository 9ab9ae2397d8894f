"""Plays one case and prints each operation with its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from extism_kernel_conformance.run.report import case_line, is_red
from extism_kernel_conformance.run.runner import (
    ConfigurationBrokenError,
    ConfigurationRun,
    ConfigurationSkippedError,
)
from extism_kernel_conformance.run.settings import select_cases

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Fields
    from extism_kernel_conformance.adapter.find import Adapter
    from extism_kernel_conformance.run.suite_run import SuiteRun

_LONGEST_SHOWN = 120


class Transcript:
    """Prints requests and answers as they pass; long bytes are cut short for the eye only."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_on = False

    def __call__(self, direction: str, message: Fields) -> None:
        """Print one message."""
        if self.is_on:
            mark = "->" if direction == "request" else "<-"
            print(
                f"{mark} {json.dumps({key: _short(value) for key, value in message.items()})}", file=self._out
            )


def replay_case(suite_run: SuiteRun, adapter: Adapter, out: TextIO) -> bool:
    """Play the one selected case on one configuration; return whether it is not red."""
    transcript = Transcript(out)
    (case,) = select_cases(suite_run.case_set, suite_run.settings)
    try:
        kernels = [kernel for _, kernel in suite_run.kernels]
        run = ConfigurationRun(adapter, kernels, suite_run.settings, suite_run.known(adapter), transcript)
        facts = run.open()
    except (ConfigurationSkippedError, ConfigurationBrokenError) as error:
        print(f"{adapter.name}: {error}", file=out)
        return False
    try:
        print(f"{case.id} on {adapter.name} ({facts.runtime} {facts.version}): {case.title}", file=out)
        print(json.dumps(case.raw.get("steps"), indent=1), file=out)
        transcript.is_on = True
        line: dict[str, Any] = {}
        for result in run.run([case]):
            line = case_line(result)
        transcript.is_on = False
    finally:
        run.close()
    print(f"verdict: {line['verdict']}", file=out)
    for key in ("step", "call", "expected", "got", "fault", "message", "case_why", "why", "link"):
        if key in line:
            print(f"{key}: {line[key]}", file=out)
    return not is_red(line)


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{value[:_LONGEST_SHOWN]}... ({len(value)} characters)"
    return value
