"""One run of everything: the steps of `run.plan` beside pytest, and one table at the end."""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from build_tools.base.errors import BuildToolsError
from build_tools.base.process import run_measured
from build_tools.checks.outcomes import Outcome, Skipped
from build_tools.checks.run import Skip, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from build_tools.checks.machine import Machine

STEP_SECONDS = 1200.0
# What Rust's test programs print at their end, and for each test.
RESULT = re.compile(
    r"^test result: \S+ (?P<passed>\d+) passed; (?P<failed>\d+) failed; (?P<ignored>\d+) ignored"
)
RUST_TEST = re.compile(r"^test (?P<name>\S+)(?: - should panic)? \.\.\. (?P<outcome>FAILED|ignored)")
# What cargo and rustc print of a file in cargo's folder that was cut.
BROKEN_TARGET = re.compile(
    r"error\[E0(786|463|460|514)\]|invalid metadata|failed to (parse|load|read) .*/target/"
)
IGNORED_FIX = "`cargo test -- --ignored` in kernel-src"


class StoppedError(Exception):
    """The run was interrupted while this step ran."""


class Lane(threading.Thread):
    """Runs steps one after the other beside what the main thread does."""

    def __init__(self, steps: Iterable[Step | Skip], *, target: Path, machine: Machine) -> None:
        super().__init__(name="steps", daemon=True)
        self.steps = steps
        self.target = target
        self.machine = machine
        self.outcomes: list[Outcome] = []
        self._stopping = threading.Event()
        self._broken: BaseException | None = None

    def run(self) -> None:
        """Run all steps, whatever becomes of each."""
        try:
            for step in self.steps:
                outcome = self._run_one(step)
                self.outcomes.append(outcome)
                say(describe(outcome))
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - `finish` raises it where it is seen
            self._broken = error

    def stop(self) -> None:
        """End the step that is running, and begin no other."""
        self._stopping.set()
        self.join()

    def finish(self) -> list[Outcome]:
        """Wait for the last step and return how all ended."""
        while self.is_alive():
            self.join(0.2)  # not for ever, so that Ctrl-C is heard
        if self._broken is not None:
            raise self._broken
        return self.outcomes

    def _look(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _run_one(self, step: Step | Skip) -> Outcome:
        self._look()
        if isinstance(step, Skip):
            skip = Skipped(name=step.name, reason=step.reason, fix=step.hint, is_chosen=step.is_chosen)
            return Outcome(name=step.name, skips=(skip,))
        return run_step(step, target=self.target, limit=STEP_SECONDS * self.machine.factor, watch=self._look)


def run_step(step: Step, *, target: Path, limit: float, watch: Callable[[], None] | None = None) -> Outcome:
    """Run one step; what it prints is shown if it fails. `target` is cargo's folder, `limit` in seconds."""
    env = {"CARGO_TARGET_DIR": str(target), "RUSTUP_AUTO_INSTALL": "0", "CARGO_TERM_COLOR": "never"}
    with tempfile.TemporaryFile() as output:
        try:
            done = run_measured(
                step.argv,
                cwd=step.cwd,
                env=env,
                output=output,
                timeout=limit,
                watch=watch,
            )
        except BuildToolsError as error:
            say(error.render())
            return Outcome(name=step.name, failures=(f"{step.name}: {error.message}",))
        output.seek(0)
        text = output.read().decode("utf-8", errors="replace")
    if done.code:
        say(f"----  {step.name}\n{text.rstrip()}")
        if BROKEN_TARGET.search(text):
            say(f"hint: cargo's folder may be damaged: `rm -r {shlex.quote(str(target))}`, and run it again")
    passed, failures, skips = count(step.name, text)
    if done.code and not failures:
        failures = [f"{step.name}: ended with code {done.code}"]
    if not passed and not failures and not skips:
        passed = 1
    return Outcome(
        name=step.name,
        passed=passed,
        failures=tuple(failures),
        skips=tuple(skips),
        seconds=done.seconds,
        cpu=done.cpu,
    )


def count(step: str, text: str) -> tuple[int, list[str], list[Skipped]]:
    """Return what Rust's test programs say passed, failed and was ignored; nothing for other tools."""
    results = [match for line in text.splitlines() if (match := RESULT.match(line))]
    named = [match for line in text.splitlines() if (match := RUST_TEST.match(line))]
    failed = [f"{step}: {match['name']}" for match in named if match["outcome"] == "FAILED"]
    ignored = [match["name"] for match in named if match["outcome"] == "ignored"]
    skips = [
        Skipped(name=f"{step}: {name}", reason="marked `#[ignore]`", fix=IGNORED_FIX) for name in ignored
    ]
    return sum(int(match["passed"]) for match in results), failed, skips


def chain(*parts: Iterable[Step | Skip]) -> Iterator[Step | Skip]:
    """Return the steps of all parts, each part asked for only when those before it are done."""
    for part in parts:
        yield from part


def describe(outcome: Outcome) -> str:
    """Return one line about a step that ended."""
    word = "FAIL" if outcome.failures else "SKIP" if outcome.skips and not outcome.passed else "ok  "
    why = f": {outcome.skips[0].reason}" if word == "SKIP" else f" ({outcome.seconds:.1f} s)"
    return f"{word}  {outcome.name}{why}"


def say(text: str) -> None:
    """Print to the log at once."""
    print(text, file=sys.stderr, flush=True)
