"""The commands that need no adapter: cases, report."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cases import read_cases
from .errors import ExitCode, UsageError
from .resources import suite_root

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add the parsers of these commands."""
    cases = commands.add_parser("cases", help="list, check or copy the cases")
    action = cases.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="one line for each case")
    action.add_argument("--check", action="store_true", help="report every fault in the case files")
    action.add_argument("--copy", type=Path, metavar="DIR", help="copy cases, schema and documents to a new folder")
    cases.add_argument("--cases", type=Path, metavar="DIR", help="cases of another folder")
    cases.add_argument("--json", action="store_true")
    cases.set_defaults(run=cases_command)


def cases_command(args: argparse.Namespace) -> int:
    """List, check or copy the cases."""
    folder: Path = args.cases or suite_root() / "cases"
    if args.copy is not None:
        return _copy(args.copy)
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
    print(f"{len(case_set.cases)} cases, {len(findings)} faults, digest {case_set.sha256[:12]}", file=sys.stderr)
    return ExitCode.MALFORMED if findings else ExitCode.GREEN


def _copy(target: Path) -> int:
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"`{target}` is not empty", hint="name a new folder")
    for name in ("cases", "schema"):
        shutil.copytree(suite_root() / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("suite.json", "surface.json", "RULES.md", "PROTOCOL.md", "LICENSE"):
        if (suite_root() / name).is_file():
            shutil.copy(suite_root() / name, target / name)
    print(target)
    return ExitCode.GREEN
