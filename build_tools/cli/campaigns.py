"""`python -m build_tools campaign NAME`: what the tests measure or generate, in the tools' environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from build_tools.base.errors import ExitCode, UsageError
from build_tools.base.process import run_through
from build_tools.base.project import find_project

if TYPE_CHECKING:
    import argparse

CAMPAIGNS: Final = {
    "rehearsal": ("tests.rehearsal", "a whole release to registries on this machine (--require: to each)"),
    "host-bench": ("tests.host.bench", "what the reference host costs, beside PyPI's `extism`"),
    "host-soak": ("tests.host.soak", "many calls and plug-ins: memory and threads stay flat"),
    "host-results": ("tests.host.results", "all that the host's page of results says, or parts of it"),
    "host-tables": ("tests.host.tables", "write the tables of C functions from the host's headers"),
    "host-attacks": ("tests.host.attacks", "what hostile plug-ins get, beside PyPI's `extism`"),
}
"""The module of each, and what it shows."""


def campaign(args: argparse.Namespace) -> int:
    """Run a campaign with the rest of the command line and return its exit code, or list all."""
    name, *rest = args.arguments or ["--help"]
    if name in {"-h", "--help"}:
        print("\n".join(f"{each:<14}{text}" for each, (_, text) in CAMPAIGNS.items()))
        return ExitCode.DONE
    if name not in CAMPAIGNS:
        raise UsageError("there is no such campaign", where=name, hint=f"one of {', '.join(CAMPAIGNS)}")
    return run_through([sys.executable, "-m", CAMPAIGNS[name][0], *rest], cwd=find_project().root)
