"""The commands that need no adapter: cases, report."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.find import adapter_from_command, find_adapters
from extism_kernel_conformance.base.errors import ExitCode, UsageError
from extism_kernel_conformance.base.files import write_whole
from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.cases.load import load_cases, read_cases
from extism_kernel_conformance.cli.bundle import write_tarball
from extism_kernel_conformance.cli.invent import add_invent_options, invent_command
from extism_kernel_conformance.reports.changes import compare
from extism_kernel_conformance.reports.html_page import render_html
from extism_kernel_conformance.reports.junit import render_junit
from extism_kernel_conformance.reports.markdown import render_markdown
from extism_kernel_conformance.reports.summary import print_summary
from extism_kernel_conformance.reports.wast import export_wast
from extism_kernel_conformance.run.report import read_reports, write_report
from extism_kernel_conformance.run.settings import Settings
from extism_kernel_conformance.wasm.module import read_kernel

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from extism_kernel_conformance.run.report import Section

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add the parsers of these commands."""
    cases = commands.add_parser("cases", help="list, check, copy or invent cases")
    action = cases.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="one line for each case")
    action.add_argument("--check", action="store_true", help="report every fault in the case files")
    action.add_argument(
        "--copy", type=Path, metavar="DIR", help="copy cases, plug-ins, schema and documents to a new folder"
    )
    action.add_argument(
        "--invent",
        type=Path,
        metavar="KERNEL",
        help="play random programs of a kernel against the model; what it breaks becomes cases, on stdout",
    )
    add_invent_options(cases)
    cases.add_argument("--cases", type=Path, metavar="DIR", help="cases of another folder")
    cases.add_argument("--json", action="store_true")
    cases.set_defaults(run=cases_command)

    report = commands.add_parser("report", help="turn reports into JUnit, Markdown or HTML")
    report.add_argument(
        "report", nargs="+", type=Path, metavar="REPORT", help="files that `run --report` wrote"
    )
    report.add_argument("--junit", type=Path, metavar="FILE")
    report.add_argument("--markdown", type=Path, metavar="FILE", help="`-` for stdout")
    report.add_argument("--html", type=Path, metavar="FILE")
    report.add_argument(
        "--since",
        type=Path,
        metavar="REPORT",
        help="tell what changed since an older report",
    )
    report.add_argument("--merge", type=Path, metavar="FILE", help="write all sections into one report")
    report.set_defaults(run=report_command)

    wast = commands.add_parser("wast", help="export the cases for engines with a runner of .wast scripts")
    wast.add_argument("kernel", type=Path, metavar="KERNEL")
    wast.add_argument("out", type=Path, metavar="DIR", help="one script for each case")
    wast.add_argument(
        "--adapter", metavar="NAME", default="wasmtime", help="the reference that binds handles"
    )
    wast.add_argument("--command", metavar="COMMAND", help="the command line of another reference")
    wast.add_argument("--skip-slow", action="store_true")
    wast.set_defaults(run=wast_command)

    tarball = commands.add_parser("tarball", help="write the suite as one archive with a runner of one file")
    tarball.add_argument("out", type=Path, metavar="FILE")
    tarball.set_defaults(run=tarball_command)


def cases_command(args: argparse.Namespace) -> int:
    """List, check, copy or invent cases."""
    folder: Path = args.cases or suite_root() / "cases"
    if args.copy is not None:
        return _copy(args.copy)
    if args.invent is not None:
        return invent_command(args)
    case_set, findings = read_cases(folder)
    if args.json:
        rows = [
            {
                "id": case.id,
                "since": ".".join(map(str, case.since)),
                "spec": list(case.spec),
                "level": case.level,
                "profile": case.profile,
                "needs": sorted(case.needs),
                "slow": case.slow,
                "title": case.title,
            }
            for case in case_set.cases
        ]
        found = [{"where": each.where, "message": each.message} for each in findings]
        print(json.dumps(rows if args.list else found, indent=2, ensure_ascii=False))
    elif args.list:
        for case in case_set.cases:
            print(f"{case.id}  {','.join(case.spec)}  {case.level}  {case.title}")
    for finding in findings:
        print(f"error[case]: {finding.message}\n  at: {finding.where}", file=sys.stderr)
    print(
        f"{len(case_set.cases)} cases, {len(findings)} faults, digest {case_set.sha256[:12]}", file=sys.stderr
    )
    return ExitCode.MALFORMED if findings else ExitCode.GREEN


def report_command(args: argparse.Namespace) -> int:
    """Convert reports; without an option, print the summary that `run` printed."""
    sections = read_reports(args.report)
    changes = None if args.since is None else compare(read_reports([args.since]), sections)
    outputs: list[tuple[Path | None, Callable[[Sequence[Section]], str]]] = [
        (args.junit, render_junit),
        (args.markdown, partial(render_markdown, changes=changes)),
        (args.html, partial(render_html, changes=changes)),
    ]
    for path, render in outputs:
        if path == Path("-"):
            print(render(sections), end="")
        elif path is not None:
            write_whole(path, render(sections))
    if args.merge is not None:
        write_report(args.merge, sections)
    if not (args.junit or args.markdown or args.html or args.merge):
        print_summary(sections, sys.stdout)
        for kind, found in changes.kinds() if changes else ():
            for configuration, case in found:
                print(f"{kind}: {case} on {configuration}")
    return ExitCode.GREEN


def wast_command(args: argparse.Namespace) -> int:
    """Export cases as .wast scripts, one file each."""
    adapter = adapter_from_command(args.command) if args.command else find_adapters().get(args.adapter)
    if adapter is None:
        raise UsageError(f"there is no adapter `{args.adapter}`", hint="see `adapters`")
    settings = Settings(skip_slow=args.skip_slow, lint=False)
    exported = export_wast(
        read_kernel(args.kernel), load_cases(suite_root() / "cases"), adapter, settings, args.out
    )
    print(args.out)
    for identifier, reason in exported.left_out:
        print(f"left out {identifier}: {reason}", file=sys.stderr)
    print(f"{exported.written} scripts, {len(exported.left_out)} cases left out", file=sys.stderr)
    return ExitCode.GREEN if exported.written else ExitCode.RED


def tarball_command(args: argparse.Namespace) -> int:
    """Write the archive and print its digest."""
    print(f"{write_tarball(args.out)}  {args.out}")
    return ExitCode.GREEN


def _copy(target: Path) -> int:
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"`{target}` is not empty", hint="name a new folder")
    try:
        _copy_parts(target)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)  # nothing of anybody else was in it
        if isinstance(error, shutil.Error):  # a list of all files: the first says enough
            _, name, why = error.args[0][0]
            raise OSError(errno.EIO, why, name) from None
        raise
    print(target)
    return ExitCode.GREEN


def _copy_parts(target: Path) -> None:
    for name in ("cases", "plugins", "schema"):
        shutil.copytree(suite_root() / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    documents = ("RULES.md", "PROTOCOL.md", "SDK.md", "LICENSE")
    for name in ("suite.json", "surface.json", "clauses.json", *documents):
        if (suite_root() / name).is_file():
            shutil.copy(suite_root() / name, target / name)
