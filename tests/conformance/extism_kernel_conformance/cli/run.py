"""The commands that start adapters: run, lint, replay, adapters."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.find import (
    Adapter,
    adapter_from_command,
    find_adapters,
    find_lacking,
    select_adapters,
)
from extism_kernel_conformance.base.errors import ExitCode, UsageError
from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.cases.load import CaseSet, load_cases
from extism_kernel_conformance.cases.profiles import PROFILES
from extism_kernel_conformance.lint.checks import CHECKS
from extism_kernel_conformance.lint.sdk import CHECKS as SDK_CHECKS
from extism_kernel_conformance.probe.cases import cases_of
from extism_kernel_conformance.reports.progress import ProgressLine
from extism_kernel_conformance.reports.summary import print_summary
from extism_kernel_conformance.run import replay
from extism_kernel_conformance.run.fixing import fix_known_failures
from extism_kernel_conformance.run.known_failures import find_orphans
from extism_kernel_conformance.run.report import Section, is_red, write_report
from extism_kernel_conformance.run.settings import DEFAULT_TIMEOUT, Settings, parse_level
from extism_kernel_conformance.run.suite_run import SuiteRun
from extism_kernel_conformance.wasm.module import parse_kernel, read_kernel

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add the parsers of these commands."""
    run = commands.add_parser("run", help="judge a kernel on one or more runtimes")
    _add_kernel_options(run)
    _add_selection_options(run)
    run.add_argument("--known-failures", type=Path, action="append", default=[], metavar="FILE")
    run.add_argument("--fix", action="store_true", help="rewrite known-failures.json from this complete run")
    run.add_argument("--require", action="store_true", help="what this machine lacks is red, not a skip")
    _add_install_option(run)
    run.add_argument("--no-lint", action="store_true", help="trust the adapters (for many runs in a row)")
    run.add_argument("--fail-fast", action="store_true", help="end a configuration at its first red case")
    run.add_argument(
        "--jobs", "-j", type=_jobs, default=os.cpu_count() or 1, help="configurations at one time"
    )
    run.add_argument("--report", type=Path, metavar="FILE", help="write the report, JSON lines")
    run.add_argument("--json", action="store_true", help="print the footers as JSON on stdout")
    run.set_defaults(run=run_command)

    lint = commands.add_parser("lint", help="check adapters themselves, without a kernel")
    _add_adapter_options(lint)
    lint.add_argument("--timeout", type=_seconds, default=DEFAULT_TIMEOUT, metavar="SECONDS")
    lint.add_argument("--jobs", "-j", type=_jobs, default=os.cpu_count() or 1)
    lint.add_argument("--require", action="store_true")
    _add_install_option(lint)
    _add_profile_option(lint)
    lint.set_defaults(run=lint_command)

    again = commands.add_parser("replay", help="play one case and print each operation and answer")
    again.add_argument("case", help="the case's id")
    _add_kernel_options(again)
    again.add_argument("--cases", type=Path, metavar="DIR")
    again.add_argument("--timeout", type=_seconds, default=DEFAULT_TIMEOUT, metavar="SECONDS")
    again.set_defaults(run=replay_command)

    listing = commands.add_parser("adapters", help="list adapters and what this machine lacks for them")
    listing.add_argument("--adapters", type=Path, action="append", default=[], metavar="DIR")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=adapters_command)


def run_command(args: argparse.Namespace) -> int:
    """Judge kernels and print a summary; red if any section is."""
    settings = Settings(
        profile=args.profile,
        patterns=tuple(args.k),
        ids=tuple(args.case),
        level=None if args.suite_level is None else parse_level(args.suite_level),
        skip_slow=args.skip_slow,
        timeout=args.timeout,
        lint=not args.no_lint,
        install=args.install,
        fail_fast=args.fail_fast,
    )
    if args.fix and not settings.is_complete:
        raise UsageError(
            "`--fix` needs a complete run",
            hint="drop -k, --case, --suite-level, --skip-slow, --fail-fast, --no-lint",
        )
    _check_files(args)
    suite_run = _suite_run(args, settings)
    sections = _run_with_progress(suite_run)
    if args.json:
        print(json.dumps([section.footer for section in sections], indent=2))
    else:
        print_summary(sections, sys.stdout)
    if args.report is not None:  # after the summary, which is then seen also if the disk is full
        write_report(args.report, sections)
    if args.fix:
        for change in fix_known_failures(sections, {adapter.name: adapter for adapter in suite_run.adapters}):
            print(change, file=sys.stderr)
    return _verdict(sections, require=args.require) or _check_orphans(
        suite_run, is_other_folder=args.cases is not None
    )


def lint_command(args: argparse.Namespace) -> int:
    """Run only the checks of the adapters themselves."""
    kernel = parse_kernel(
        bytes.fromhex((suite_root() / "lint" / "operations.hex").read_text(encoding="ascii").strip())
    )
    suite_run = SuiteRun(
        kernels=[(Path("operations"), kernel)],
        case_set=CaseSet(cases=(), tombstones=(), sha256=""),
        adapters=_adapters(args),
        settings=Settings(profile=args.profile, timeout=args.timeout, install=args.install),
        jobs=args.jobs,
    )
    exit_code = ExitCode.GREEN
    for section in suite_run.run():
        for line in section.lint:
            text = f": expected {line.get('expected')}, got {line.get('got')}" if "expected" in line else ""
            text = text or f": {line.get('message', '')}".removesuffix(": ")
            print(f"{section.configuration} {line['verdict']:<5} {line['id']}{text}")
        skipped = section.footer.get("skipped")
        failed = any(is_red(line) for line in section.lint) or not (section.lint or skipped)
        if not section.lint:
            state = f"skip: {skipped}" if skipped else f"error: {section.footer['broken']}"
            print(f"{section.configuration} {state}")
        if failed or (skipped and args.require):
            exit_code = ExitCode.RED
    checks = len(SDK_CHECKS) if args.profile == "sdk" else len(CHECKS) + 1
    print(f"{checks} checks for each adapter", file=sys.stderr)
    return exit_code


def replay_command(args: argparse.Namespace) -> int:
    """Play one case and print what went over the wire."""
    settings = Settings(profile=args.profile, ids=(args.case,), timeout=args.timeout, lint=False)
    suite_run = _suite_run(args, settings)
    verdicts = [replay.replay_case(suite_run, adapter, sys.stdout) for adapter in suite_run.adapters]
    return ExitCode.GREEN if all(verdicts) else ExitCode.RED


def adapters_command(args: argparse.Namespace) -> int:
    """List adapters; those the machine cannot run come with the command that would change that."""
    found = find_adapters(args.adapters)
    rows = [(adapter, find_lacking(adapter)) for adapter in found.values()]
    if args.json:
        keys = ("name", "runtime", "profile", "lacking", "note")
        values = [(a.name, a.runtime, a.profile, lacking, a.note) for a, lacking in rows]
        print(json.dumps([dict(zip(keys, each, strict=True)) for each in values], indent=2))
        return ExitCode.GREEN
    for adapter, lacking in rows:
        print(f"{adapter.name:<24} {adapter.profile:<7} {f'lacking: {lacking}' if lacking else 'ready'}")
    return ExitCode.GREEN


def _add_kernel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kernel",
        nargs="+",
        type=Path,
        metavar="KERNEL",
        help="extism-runtime.wasm; give both flavours to reach every runtime",
    )
    _add_adapter_options(parser)
    _add_profile_option(parser)


def _add_install_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--install",
        action="store_true",
        help="fetch what adapters lack into the user's cache, without root, and say what was fetched",
    )


def _add_profile_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", choices=sorted(PROFILES), default="kernel")


def _add_adapter_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--adapter",
        "--runtime",
        action="append",
        default=[],
        metavar="NAME",
        help="a configuration, folder or runtime; `all` for every one",
    )
    parser.add_argument("--command", metavar="COMMAND", help="the command line of an adapter of your own")
    parser.add_argument(
        "--adapters",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="one more folder with adapters",
    )


def _add_selection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=Path, metavar="DIR", help="cases of another folder")
    parser.add_argument(
        "-k", action="append", default=[], metavar="TEXT", help="only cases with TEXT in their id"
    )
    parser.add_argument("--case", action="append", default=[], metavar="ID")
    parser.add_argument(
        "--suite-level", metavar="N.N", help="leave out cases newer than this minor version of the suite"
    )
    parser.add_argument("--skip-slow", action="store_true")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="for one answer (default %(default)g; ten times that in a slow case)",
    )


def _check_files(args: argparse.Namespace) -> None:
    """Raise UsageError before the run for what would be noticed after it, or never."""
    if args.report is not None:
        folder = args.report.resolve().parent
        if not folder.is_dir():
            raise UsageError("there is no folder for the report", where=str(args.report))
        if args.report.is_dir():
            raise UsageError("the report is a file, this is a folder", where=str(args.report))
        if not os.access(args.report if args.report.exists() else folder, os.W_OK):
            raise UsageError("the report cannot be written there", where=str(args.report))
    for path in args.known_failures:
        if not path.is_file():
            raise UsageError("there is no such list of known failures", where=str(path))


def _seconds(text: str) -> float:
    """Return a time for argparse, refusing what no answer could keep."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no time above 0")
    return value


def _jobs(text: str) -> int:
    """Return a number for argparse, refusing one that would run nothing."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of jobs above 0")
    return int(text)


def _suite_run(args: argparse.Namespace, settings: Settings) -> SuiteRun:
    return SuiteRun(
        kernels=[(path, read_kernel(path)) for path in args.kernel],
        case_set=load_cases(args.cases or suite_root() / "cases"),
        adapters=_adapters(args),
        settings=settings,
        known_lists=getattr(args, "known_failures", []),
        jobs=getattr(args, "jobs", 1),
        command=shlex.join(["extism-kernel-conformance", *sys.argv[1:]]),
    )


def _adapters(args: argparse.Namespace) -> list[Adapter]:
    if args.command and args.adapter:
        raise UsageError("`--adapter` and `--command` exclude each other")
    if args.command:
        return [adapter_from_command(args.command)]
    if not args.adapter:
        raise UsageError(
            "no adapter is given", hint="add `--adapter NAME` (see `adapters`) or `--command 'my-adapter'`"
        )
    return select_adapters(args.adapter, find_adapters(args.adapters), args.profile)


def _run_with_progress(suite_run: SuiteRun) -> list[Section]:
    line = ProgressLine(len(suite_run.adapters))
    try:
        return dataclasses.replace(suite_run, progress=line).run()
    finally:
        line.end()


def _verdict(sections: list[Section], *, require: bool) -> ExitCode:
    ran = [section for section in sections if "skipped" not in section.footer]
    if not ran:
        print(
            "error[no-case-ran]: no configuration ran, and a run without cases proves nothing",
            file=sys.stderr,
        )
        return ExitCode.RED
    if require and len(ran) < len(sections):
        names = ", ".join(section.configuration for section in sections if section not in ran)
        print(f"error[required]: not run, though `--require` asks for it: {names}", file=sys.stderr)
        return ExitCode.RED
    return ExitCode.GREEN if all(section.is_green for section in sections) else ExitCode.RED


def _check_orphans(suite_run: SuiteRun, *, is_other_folder: bool) -> ExitCode:
    def find(case_set: CaseSet, ids: set[str]) -> set[tuple[Path, str]]:
        ids |= {case.id for profile in PROFILES for case in cases_of(case_set, profile)}
        return {(entry.path, entry.case) for each in lists for entry in find_orphans(each, ids)}

    lists = [suite_run.known(adapter) for adapter in suite_run.adapters]
    known = {f"lint/{name}" for name in (*CHECKS, "end-of-input", *SDK_CHECKS)}
    orphans = find(suite_run.case_set, known)
    if orphans and is_other_folder:  # lists beside the suite's adapters speak of the suite's cases
        orphans = find(load_cases(suite_root() / "cases"), known)
    for path, case in sorted(orphans):
        print(f"error[known-failure-stale]: there is no case `{case}`\n  at: {path}", file=sys.stderr)
    return ExitCode.RED if orphans else ExitCode.GREEN
