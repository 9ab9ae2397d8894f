"""`python -m build_tools test`: everything that a submission must pass, and one table at the end."""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import TYPE_CHECKING

from build_tools.base.cache import find_cache
from build_tools.base.children import adopt_orphans, end_children, find_children
from build_tools.base.errors import BuildToolsError, ExitCode, UsageError
from build_tools.base.project import find_project
from build_tools.checks.execute import Lane, chain, say
from build_tools.checks.machine import calibrate
from build_tools.checks.outcomes import (
    Outcome,
    render_failures,
    render_skips,
    render_summary,
    render_table,
)
from build_tools.checks.pytests import NOTHING_COLLECTED, Selection, run_pytest
from build_tools.checks.run import check_writable, find_cargo, native_steps, plan
from build_tools.kernel.pipeline import Request, make_kernel

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from build_tools.base.project import Project
    from build_tools.checks.run import Skip, Step


def test(args: argparse.Namespace) -> int:
    """Run all checks; with `-k` only the tests that it names."""
    project = find_project()
    check_writable(project)
    started = time.monotonic()
    adopt_orphans()
    machine = calibrate()
    say(machine.describe())
    staged = _stage(project)
    selection = Selection(expression=args.expression, is_fast=args.fast)
    steps = [] if selection.expression is not None else _plan(project, is_fast=args.fast)
    lane = Lane(steps, target=find_cache() / "target", machine=machine)
    lane.start()
    try:
        tests = run_pytest(project.root, selection, machine)
        outcomes = [*staged, *lane.finish(), *tests.outcomes]
    except BaseException:
        lane.stop()
        raise
    finally:
        _end_left_over()
    if tests.code == NOTHING_COLLECTED and selection.expression is not None:
        hint = "`-k` takes a part of a test's name"
        raise UsageError(f"no test matches `-k {selection.expression}`", hint=hint)
    if tests.code < 0 or tests.code == ExitCode.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if args.costs:
        print("\n".join(f"{cpu:8.1f} s  {name}" for cpu, name in tests.costs[: args.costs]), end="\n\n")
    _report(outcomes, seconds=time.monotonic() - started)
    missed = [skip for each in outcomes for skip in each.skips if not skip.is_chosen]
    has_failed = any(each.failures for each in outcomes) or (args.strict and bool(missed))
    return ExitCode.FINDINGS if has_failed else ExitCode.DONE


def _plan(project: Project, *, is_fast: bool) -> Iterable[Step | Skip]:
    cargo = find_cargo()
    steps = plan(project, is_fast=is_fast, cargo=cargo)
    if cargo is not None or is_fast:
        return steps

    def native() -> Iterable[Step | Skip]:
        yield from native_steps(project, find_cache())

    return chain(steps, native())


def _stage(project: Project) -> list[Outcome]:
    """Make the kernel that the tests look at; a kernel that cannot be made fails, and the rest still runs."""
    before, cpu = time.monotonic(), _cpu_time()
    failures: tuple[str, ...] = ()
    try:
        make_kernel(Request(project=project, cache=find_cache(), out=project.package))
    except BuildToolsError as error:
        say(error.render())
        failures = (f"kernel: {error.code}",)
    return [
        Outcome(
            name="kernel",
            passed=0 if failures else 1,
            failures=failures,
            seconds=time.monotonic() - before,
            cpu=_cpu_time() - cpu,
        )
    ]


def _end_left_over() -> None:
    """Kill what a worker that died had started: it became ours."""
    for pid, name in end_children(set(find_children(os.getpid())), patience=1.0).items():
        say(f"killed process {pid}, which a test had left: {name}")


def _report(outcomes: Sequence[Outcome], *, seconds: float) -> None:
    parts = [
        render_skips(outcomes),
        render_failures(outcomes),
        render_table(outcomes),
        f"{seconds:.0f} s of the clock, {_cpu_time():.0f} s of CPU time",
        render_summary(outcomes),
    ]
    sys.stderr.flush()
    print("\n\n".join(part for part in parts[:3] if part))
    print(*parts[3:], sep="\n", flush=True)


def _cpu_time() -> float:
    """Return the CPU seconds of this process and of all descendants that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)
