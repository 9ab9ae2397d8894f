"""Runs configurations side by side and makes a section of the report of each."""

from __future__ import annotations

import platform
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.machine import describe_machine
from extism_kernel_conformance.base.resources import suite_info, suite_root
from extism_kernel_conformance.run.judged import EMBEDDED, judged_facts
from extism_kernel_conformance.run.known_failures import KnownFailures, load_known_failures
from extism_kernel_conformance.run.report import Section, case_line, is_red, make_footer
from extism_kernel_conformance.run.result import Result
from extism_kernel_conformance.run.runner import (
    ConfigurationBrokenError,
    ConfigurationRun,
    ConfigurationSkippedError,
)
from extism_kernel_conformance.run.settings import Settings, select_cases

if TYPE_CHECKING:
    from pathlib import Path

    from extism_kernel_conformance.adapter.find import Adapter
    from extism_kernel_conformance.cases.load import Case, CaseSet
    from extism_kernel_conformance.wasm.module import Kernel

_NO_CASE = "no case ran: -k, --case, --suite-level and --skip-slow leave none; see `cases --list`"

Progress = Callable[[str, Result | None, int], None]
"""Told (configuration, result, number of cases) for each result, with None when a configuration has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """Kernels, cases and configurations; `run` plays them all."""

    kernels: Sequence[tuple[Path, Kernel]]
    case_set: CaseSet
    adapters: Sequence[Adapter]
    settings: Settings
    known_lists: Sequence[Path] = ()
    """Lists besides those that lie next to the adapters."""
    jobs: int = 2
    progress: Progress = field(default=lambda *_: None)
    command: str = ""
    """The command line, for the report."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Ends every configuration after the case at hand."""
    _runs: list[ConfigurationRun] = field(default_factory=list)

    def run(self) -> list[Section]:
        """Return one section for each configuration, in the order they were given."""
        cases = select_cases(self.case_set, self.settings)
        with ThreadPoolExecutor(max_workers=max(1, self.jobs)) as pool:
            futures = [pool.submit(self.run_one, adapter, cases) for adapter in self.adapters]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self.stop.set()  # the pool waits for what runs; nobody should wait for all of it
                for future in futures:
                    future.cancel()
                for run in self._runs:  # nor for an adapter that hangs
                    run.interrupt()
                raise

    def run_one(self, adapter: Adapter, cases: Sequence[Case]) -> Section:
        """Play one configuration from greeting to footer."""
        started = time.monotonic()
        section = Section(header=self._header(adapter))
        skipped = broken = ""
        try:
            run = ConfigurationRun(
                adapter, [kernel for _, kernel in self.kernels], self.settings, self.known(adapter)
            )
            self._runs.append(run)
            broken = self._fill(run, section, cases) or ("" if cases else _NO_CASE)
        except ConfigurationSkippedError as skip:
            skipped = str(skip)
        except ConfigurationBrokenError as fault:
            broken = str(fault)
        section.footer = make_footer(
            section, seconds=time.monotonic() - started, skipped=skipped, broken=broken
        )
        self.progress(adapter.name, None, len(cases))
        return section

    def known(self, adapter: Adapter) -> KnownFailures:
        """Return the known failures that a configuration's run takes into account."""
        return load_adapter_list(adapter, self.known_lists)

    def _fill(self, run: ConfigurationRun, section: Section, cases: Sequence[Case]) -> str:
        given = self._kernel_facts(run.kernel)
        facts = run.open()
        section.header["runtime"] = {
            "name": facts.runtime,
            "version": facts.version,
            "adapter": facts.adapter,
            "capabilities": sorted(facts.capabilities),
        }
        if facts.kernel:
            section.header["runtime"]["kernel"] = facts.kernel
        section.header["kernel"] = judged_facts(facts.kernel, given)
        try:
            if self.settings.lint:
                self._collect(run, run.lint(), section.lint, len(cases))
                failed = [line["id"] for line in section.lint if is_red(line)]
                if failed:
                    return f"the adapter fails its lint ({', '.join(failed)}), so the kernel was not judged"
            self._collect(run, run.run(cases), section.cases, len(cases))
        finally:
            run.close()
        return ""

    def _collect(
        self, run: ConfigurationRun, results: Iterable[Result], lines: list[dict[str, object]], total: int
    ) -> None:
        for result in results:
            if self.stop.is_set():  # what ended the adapter was not the case
                return
            lines.append(case_line(result))
            self.progress(run.adapter.name, result, total)
            if self.settings.fail_fast and is_red(lines[-1]):
                return

    def _header(self, adapter: Adapter) -> dict[str, object]:
        info, settings = suite_info(), self.settings
        command = "extism-kernel-conformance replay CASE " + " ".join(
            shlex.quote(str(path)) for path, _ in self.kernels
        )
        if settings.profile != "kernel":
            command += f" --profile {settings.profile}"
        runtime: dict[str, object] = {
            "name": adapter.runtime,
            "version": "",
            "adapter": "",
            "capabilities": [],
        }
        kernel = self._kernel_facts(self.kernels[0][1])
        if settings.profile == "sdk":  # until the adapter has said which one it runs
            runtime["kernel"], kernel = EMBEDDED, judged_facts(EMBEDDED, kernel)
        return {
            "type": "header",
            "suite": info.version,
            "protocol": info.protocol,
            "rules": info.rules,
            "profile": settings.profile,
            "configuration": adapter.name,
            "runtime": runtime,
            "kernel": kernel,
            "cases_sha256": self.case_set.sha256,
            "selection": {
                "patterns": list(settings.patterns),
                "ids": list(settings.ids),
                "level": None if settings.level is None else ".".join(map(str, settings.level)),
                "skip_slow": settings.skip_slow,
            },
            "complete": settings.is_complete,
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "started": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "machine": describe_machine(),
            "command": self.command,
            "replay": f"{command} {_adapter_option(adapter)}",
        }

    def _kernel_facts(self, kernel: Kernel) -> dict[str, object]:
        name = next((path.name for path, each in self.kernels if each is kernel), "")
        return {"file": name, "sha256": kernel.sha256, "bytes": len(kernel.data), "flavour": kernel.flavour}


def load_adapter_list(adapter: Adapter, more: Sequence[Path] = ()) -> KnownFailures:
    """Return the known failures beside an adapter, and those of more lists."""
    return load_known_failures([*more, adapter.folder / "known-failures.json"])


def _adapter_option(adapter: Adapter) -> str:
    if adapter.runtime == "unknown":
        return f"--command {shlex.quote(shlex.join(adapter.command))}"
    if adapter.folder.parent == (suite_root() / "adapters").resolve():
        return f"--adapter {adapter.name}"
    return f"--adapter {adapter.name} --adapters {shlex.quote(str(adapter.folder))}"
