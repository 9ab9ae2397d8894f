"""`cases --invent`: random programs against the model."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.errors import ExitCode, UsageError
from extism_kernel_conformance.base.files import write_whole
from extism_kernel_conformance.model.case import write_cases
from extism_kernel_conformance.model.invent import Invented, invent, invent_against
from extism_kernel_conformance.wasm.module import read_kernel

if TYPE_CHECKING:
    from extism_kernel_conformance.wasm.module import Kernel

SECONDS = 60.0


def add_invent_options(parser: argparse.ArgumentParser) -> None:
    """Add what only `--invent` looks at."""
    group = parser.add_argument_group("with --invent")
    group.add_argument(
        "--mutants",
        type=Path,
        metavar="DIR",
        help="play the modules (*.wasm) of a folder in place of the kernel, which must pass what they fail",
    )
    group.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="N",
        help="CPU time for the kernel, or for each mutant (default 60)",
    )
    group.add_argument("--seed", type=int, default=1, metavar="N", help="what the programs follow from")
    group.add_argument("--out", type=Path, metavar="FILE", help="write the cases here, not to stdout")


def invent_command(args: argparse.Namespace) -> int:
    """Write the cases that were invented; red if there are any."""
    kernel = read_kernel(args.invent)
    found = _judge_mutants(kernel, args) if args.mutants is not None else _judge(kernel, args)
    cases = [each.case for each in found]
    text = (
        json.dumps({"cases": cases}, indent=2, ensure_ascii=False) + "\n" if args.json else write_cases(cases)
    )
    if args.out is not None:
        write_whole(args.out, text)
    elif cases:
        print(text, end="")
    return ExitCode.RED if found else ExitCode.GREEN


def _judge(kernel: Kernel, args: argparse.Namespace) -> list[Invented]:
    found = []
    for each in invent(kernel, seconds=args.seconds, seed=args.seed):
        _tell(f"{each.clause}: {each.kind}", each)
        found.append(each)
    print(f"{len(found)} kinds of faults in {args.seconds:g} s", file=sys.stderr)
    return found


def _judge_mutants(kernel: Kernel, args: argparse.Namespace) -> list[Invented]:
    paths = sorted(args.mutants.glob("*.wasm"))
    if not paths:
        raise UsageError(
            f"there is no module in `{args.mutants}`", hint="name a folder with modules (*.wasm)"
        )
    found = []
    for path in paths:
        case = invent_against(kernel, read_kernel(path), seconds=args.seconds, seed=args.seed)
        if case is None:
            print(f"{path.stem}: survived", file=sys.stderr)
        else:
            _tell(f"{path.stem}: {case.clause}: {case.kind}", case)
            found.append(case)
    print(f"{len(found)} of {len(paths)} mutants fell within {args.seconds:g} s each", file=sys.stderr)
    return found


def _tell(what: str, each: Invented) -> None:
    spent = f"{each.seconds:.1f} s, {each.programs} programs"
    print(f"{what} ({spent}; {each.operations} operations): {each.case['id']}", file=sys.stderr)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no time in seconds")
    return value
