"""Runs cases on one configuration and yields what came of each."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.find import (
    Adapter,
    find_lacking,
    install_lacking,
    prepare_adapter,
    variables_of,
)
from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.adapter.session import AdapterSession
from extism_kernel_conformance.base.errors import AdapterBuildError
from extism_kernel_conformance.base.outcome import CaseFailed, CaseSkipped, Outcome
from extism_kernel_conformance.lint.capabilities import find_capabilities
from extism_kernel_conformance.lint.checks import run_lint
from extism_kernel_conformance.lint.sdk import run_sdk_lint
from extism_kernel_conformance.play.players import PLAYERS
from extism_kernel_conformance.play.target import Target
from extism_kernel_conformance.probe.imports import OfferedImports
from extism_kernel_conformance.run.judged import EMBEDDED, judged_digest
from extism_kernel_conformance.run.known_failures import KnownFailures, judge_known
from extism_kernel_conformance.run.result import Result, RuntimeFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Fields
    from extism_kernel_conformance.cases.load import Case
    from extism_kernel_conformance.run.settings import Settings
    from extism_kernel_conformance.wasm.module import Kernel

_SLOW_FACTOR = 10.0
TRANSPORT = frozenset({"batch", "modules"})
"""Capabilities that change how operations travel and not what they do."""


class ConfigurationSkippedError(Exception):
    """The machine, or the choice of kernels, does not allow this configuration; the text says what would."""


class ConfigurationBrokenError(Exception):
    """The adapter could not be built or greeted; red, and the adapter's fault."""


class ConfigurationRun:
    """One configuration: an adapter and the kernel flavour it can load."""

    def __init__(
        self,
        adapter: Adapter,
        kernels: Sequence[Kernel],
        settings: Settings,
        known: KnownFailures,
        trace: Callable[[str, Fields], None] | None = None,
    ) -> None:
        self.adapter = adapter
        self.settings = settings
        self.known = known
        self.kernel = _choose_kernel(adapter, kernels)
        self._trace = trace
        self._session: AdapterSession | None = None
        self._is_interrupted = False
        self._offers: OfferedImports | None = None
        self._transport: frozenset[str] = frozenset()
        self.facts: RuntimeFacts | None = None

    def open(self) -> RuntimeFacts:
        """Build and start the adapter, and probe what its runtime can do.

        Raises ConfigurationSkippedError or ConfigurationBrokenError.
        """
        try:
            for fetched in install_lacking(self.adapter) if self.settings.install else ():
                print(f"{self.adapter.name}: {fetched}", file=sys.stderr, flush=True)
        except AdapterBuildError as error:
            raise ConfigurationBrokenError(f"adapter-build: {error.message}") from error
        lacking = find_lacking(self.adapter)
        if lacking is not None:
            raise ConfigurationSkippedError(lacking)
        try:
            command = prepare_adapter(self.adapter, self.kernel)
            timeout = self.adapter.timeout or self.settings.timeout
            self._session = AdapterSession(
                command, timeout=timeout, env=variables_of(self.adapter), trace=self._trace
            )
            if self._is_interrupted:  # while it was built
                self._session.interrupt()
            self._session.connection()
            hello = self._session.hello
            if (
                self.settings.profile == "sdk"
            ):  # an SDK says what its interface offers; there is no probing that
                capabilities = frozenset(hello["capabilities"])
            else:
                capabilities = find_capabilities(self._session) | ({"context"} & {self.kernel.flavour})
                self._transport = TRANSPORT & set(hello["capabilities"])
            said = _find_said(self.adapter, self.kernel, hello) if self.settings.profile == "sdk" else ""
        except AdapterBuildError as error:
            raise ConfigurationBrokenError(f"adapter-build: {error.message}") from error
        except AdapterFault as fault:
            self.close()
            raise ConfigurationBrokenError(f"{fault.code}: {fault.message}") from fault
        self.facts = RuntimeFacts(
            runtime=hello["runtime"],
            version=hello["version"],
            adapter=hello["adapter"],
            capabilities=capabilities | self._transport,
            kernel=said,
        )
        return self.facts

    def lint(self) -> Iterator[Result]:
        """Yield one result for each check of the adapter itself; ids begin with `lint/`."""
        assert self._session is not None
        lint = run_sdk_lint if self.settings.profile == "sdk" else run_lint
        for identifier, outcome in lint(self._session):
            yield self._judged(Result(case=None, id=identifier, outcome=outcome))

    def run(self, cases: Sequence[Case]) -> Iterator[Result]:
        """Yield one result for each case, in order."""
        for case in cases:
            started = time.monotonic()
            outcome = self._play(case)
            milliseconds = round((time.monotonic() - started) * 1000)
            result = Result(case=case, id=case.id, outcome=replace(outcome, milliseconds=milliseconds))
            yield self._judged(result)

    def close(self) -> None:
        """End the adapter."""
        if self._session is not None:
            self._session.close()

    def interrupt(self) -> None:
        """End the adapter, whatever it is doing; for another thread than the one that runs the cases."""
        self._is_interrupted = True
        if self._session is not None:
            self._session.interrupt()

    def _play(self, case: Case) -> Outcome:
        assert self._session is not None
        assert self.facts is not None
        unmet = sorted(case.needs - self.facts.capabilities)
        if unmet:
            return Outcome(
                verdict="skip", message=f"needs {', '.join(unmet)}, which this configuration lacks"
            )
        if not self._transport:
            return self._play_once(case, frozenset())
        outcome = self._play_once(case, self._transport)
        if not outcome.fault or self._is_interrupted:
            return outcome
        # In a batch nobody sees which operation broke the adapter, or what the kernel did wrong before it.
        again = self._play_once(case, frozenset())
        if again.verdict != "pass":
            return again
        message = f"{outcome.message}; in a batch only: the case passes with each operation on its own line"
        return replace(outcome, message=message)

    def _play_once(self, case: Case, transport: frozenset[str]) -> Outcome:
        assert self._session is not None
        timeout = self._session.timeout * (_SLOW_FACTOR if case.slow else 1)
        try:
            PLAYERS[case.profile](case, self._target(timeout, transport))
        except CaseSkipped as skip:
            return Outcome(verdict="skip", message=str(skip))
        except CaseFailed as failure:
            if failure.is_unsupported:
                return Outcome(verdict="skip", message=f"{failure.where}: {failure.expected} is unsupported")
            return Outcome(
                verdict="fail",
                step=failure.where,
                call=failure.call,
                expected=failure.expected,
                got=failure.got,
            )
        except AdapterFault as fault:
            tail = self._session.abandon()
            message = (
                f"{fault.message}; it logged: {tail}" if tail and tail not in fault.message else fault.message
            )
            return Outcome(verdict=fault.verdict, fault=fault.code, got=fault.code, message=message)
        return Outcome(verdict="pass")

    def _target(self, timeout: float, transport: frozenset[str]) -> Target:
        assert self._session is not None
        if self._offers is None:
            self._offers = OfferedImports(self._session, self.kernel)
        return Target(
            session=self._session,
            kernel=self.kernel,
            timeout=timeout,
            offers=self._offers,
            transport=transport,
        )

    def _judged(self, result: Result) -> Result:
        version = self.facts.version if self.facts else "0"
        outcome = judge_known(
            result.id,
            result.outcome,
            self.known,
            configuration=self.adapter.name,
            version=version,
            kernel=judged_digest(self.facts.kernel if self.facts else "", self.kernel.sha256),
        )
        return replace(result, outcome=outcome)


def _find_said(adapter: Adapter, kernel: Kernel, hello: Answer) -> str:
    """Return what an SDK's adapter says of its kernel. Raises AdapterFault if it should run the given one."""
    said: str = hello.get("kernel", EMBEDDED)
    if adapter.takes_kernel and said != kernel.sha256:
        message = f"it was given the kernel {kernel.sha256[:16]}, and says that it runs {said[:16]}"
        raise AdapterFault("adapter-kernel", message)
    return said


def _choose_kernel(adapter: Adapter, kernels: Sequence[Kernel]) -> Kernel:
    for flavour in adapter.flavours:
        for kernel in kernels:
            if kernel.flavour == flavour:
                return kernel
    have = ", ".join(sorted({kernel.flavour for kernel in kernels}))
    wanted = " or ".join(adapter.flavours)
    raise ConfigurationSkippedError(
        f"it loads kernels of the flavour {wanted}, given is {have}; give extism-runtime-core.wasm as well"
    )
