"""Parts of a run for other programs: `start` becomes an adapter, `probe` writes the plug-in of a case."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from extism_kernel_conformance.adapter.find import (
    find_adapters,
    find_lacking,
    prepare_adapter,
    variables_of,
)
from extism_kernel_conformance.base.errors import ExitCode, UsageError
from extism_kernel_conformance.base.files import write_whole_bytes
from extism_kernel_conformance.base.outcome import CaseSkipped
from extism_kernel_conformance.base.resources import suite_root
from extism_kernel_conformance.cases.load import load_cases
from extism_kernel_conformance.probe.module import make_module
from extism_kernel_conformance.probe.translate import translate
from extism_kernel_conformance.wasm.module import read_kernel

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: Commands) -> None:
    """Add the parsers of these commands."""
    start = commands.add_parser("start", help="build one adapter and hand standard input and output to it")
    start.add_argument("configuration", help="the name of a configuration; see `adapters`")
    start.add_argument("kernel", type=Path, metavar="KERNEL", help="for adapters that take one")
    start.add_argument("--adapters", type=Path, action="append", default=[], metavar="DIR")
    start.set_defaults(run=start_command)
    probe = commands.add_parser("probe", help="write the plug-in that plays a kernel case in the sdk profile")
    probe.add_argument("case", help="the case's id, without `probe/`")
    probe.add_argument("file", type=Path, metavar="FILE")
    probe.set_defaults(run=probe_command)


def start_command(args: argparse.Namespace) -> NoReturn:
    """Become the adapter. Raises UsageError for an unknown name or what the machine lacks."""
    known = find_adapters(args.adapters)
    adapter = known.get(args.configuration)
    if adapter is None:
        raise UsageError(f"there is no configuration `{args.configuration}`", hint="see `adapters`")
    if (lacking := find_lacking(adapter)) is not None:
        raise UsageError(lacking)
    command = prepare_adapter(adapter, read_kernel(args.kernel))
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, **variables_of(adapter)})  # noqa: S606 - no shell is wanted


def probe_command(args: argparse.Namespace) -> ExitCode:
    """Write a module. Raises UsageError for an unknown case, or one that no plug-in can play."""
    cases = {case.id: case for case in load_cases(suite_root() / "cases").cases}
    if args.case not in cases:
        raise UsageError(f"there is no case `{args.case}`", hint="see `cases --list`")
    try:
        module = make_module(translate(cases[args.case]))
    except CaseSkipped as skip:
        raise UsageError(f"no plug-in can play it: it {skip}", where=args.case) from None
    write_whole_bytes(args.file, module)
    return ExitCode.GREEN
