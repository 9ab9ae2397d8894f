"""`python -m build_tools bench`: what each export of a kernel costs, beside other kernels."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, FileMissingError, UsageError
from build_tools.base.findings import to_json
from build_tools.base.progress import Progress
from build_tools.base.project import find_project
from build_tools.bench.allocators import AllocatorsError, build_allocators
from build_tools.bench.costs import count_lines, measure
from build_tools.bench.cycles import time_cycles
from build_tools.bench.groups import GROUPS, play_group
from build_tools.bench.metered import NamedModule
from build_tools.bench.runtimes import render_runtimes, time_runtimes
from build_tools.bench.scenarios import SCENARIOS
from build_tools.bench.tables import costs_to_data, is_over, render_costs, render_markdown
from build_tools.bench.upstream import fetch_upstream
from build_tools.bench.worst import WORST
from build_tools.kernel.values import FILENAMES
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.bench.groups import PlayedGroup

UPSTREAM = "upstream"
PAIR = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` lists what there is")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = _Parser(
        prog="python -m build_tools bench",
        description="Counts what each export of a kernel costs, in wasmtime fuel, and times a host's cycle. "
        "Exit code 1 means that the first kernel breaks a bound of C-1 to C-3 or of C-5.",
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="finished modules; default: the staged kernel"
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FILE|upstream",
        help="another kernel to set beside them; `upstream` is fetched by `go` or `cargo` into its cache",
    )
    parser.add_argument(
        "--worst",
        action="store_true",
        help="also count states made to be expensive: up to 100,000 blocks, on the first kernel (minutes)",
    )
    parser.add_argument(
        "--traces",
        action="store_true",
        help="also play long traces: memory that fills, churn, memory over live bytes (minutes)",
    )
    parser.add_argument(
        "--allocators",
        action="store_true",
        help="play the traces on dlmalloc, rlsf and talc too; `cargo` fetches and compiles them",
    )
    parser.add_argument(
        "--runtimes",
        action="store_true",
        help="only time a guest's loops on compilers and interpreters, beside the one kernel of `--against`",
    )
    parser.add_argument("--no-wall", action="store_true", help="count fuel only; time nothing")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the figures as JSON")
    shape.add_argument(
        "--markdown", action="store_true", help="print the text of kernel-src/COSTS.md or RUNTIMES.md"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure and print. Raises BuildToolsError for a file that is absent or no kernel."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.allocators and not args.traces:
        parser.error("`--allocators` needs `--traces`: allocators are compared by traces alone")
    kernels = find_kernels(args.files, args.against)
    if args.runtimes:
        if len(kernels) != PAIR:
            parser.error("`--runtimes` compares two kernels: name one with `--against`")
        return _time_runtimes(kernels, as_json=args.json)
    scenarios = SCENARIOS + WORST if args.worst else SCENARIOS
    with Progress(f"counting {len(scenarios)} scenarios on {len(kernels)} kernel(s)") as progress:
        progress.update()
        all_costs = [measure(kernels[0], scenarios)]
        for kernel in kernels[1:]:
            progress.update()
            all_costs.append(measure(kernel))
    groups = _play(kernels + _find_allocators(wanted=args.allocators)) if args.traces else ()
    cycles = () if args.no_wall else time_cycles(kernels)
    if args.json:
        print(to_json(costs_to_data(scenarios, all_costs, cycles, groups)))
    elif args.markdown:
        lines = None if args.files else count_lines(find_project().kernel_src)
        print(render_markdown(scenarios, all_costs, cycles, groups, lines_of_rust=lines))
    else:
        print(render_costs(scenarios, all_costs, cycles, groups))
    pairs = zip(scenarios, all_costs[0].costs, strict=True)
    is_broken = any(is_over(*pair) for pair in pairs)
    is_broken |= any(group.group.clause is not None and any(group.missed()) for group in groups)
    return ExitCode.FINDINGS if is_broken else ExitCode.DONE


def _time_runtimes(kernels: Sequence[NamedModule], *, as_json: bool) -> int:
    with Progress("timing loops on runtimes") as progress:
        times, lacking = time_runtimes(kernels, watch=progress.update)
    if as_json:
        loops = [dataclasses.asdict(each) | {"nanoseconds": each.nanoseconds} for each in times]
        print(to_json({"loops": loops, "lacking": lacking}))
    else:
        print(render_runtimes(times, lacking, date=f"{datetime.now(timezone.utc):%Y-%m-%d}"))
    return ExitCode.DONE


def _play(modules: Sequence[NamedModule]) -> tuple[PlayedGroup, ...]:
    with Progress(f"playing traces on {len(modules)} module(s)") as progress:
        return tuple(play_group(group, modules, progress.update) for group in GROUPS)


def _find_allocators(*, wanted: bool) -> list[NamedModule]:
    """Return the allocators; where they cannot be compiled, say so and return none."""
    if not wanted:
        return []
    try:
        with Progress("compiling allocators from crates.io") as progress:
            progress.update()
            return list(build_allocators(find_cache()))
    except AllocatorsError as error:
        print(f"left out, so the tables have no allocators: {error.render()}", file=sys.stderr)
        return []


def find_kernels(paths: Sequence[Path], against: Sequence[str]) -> list[NamedModule]:
    """Return the kernels that a command line names; without any file, the staged one comes first."""
    kernels = [_read(path, str(path)) for path in paths] or [_staged()]
    for other in against:
        if other == UPSTREAM:
            kernels.append(NamedModule(name=UPSTREAM, data=fetch_upstream(find_cache()).data))
        else:
            kernels.append(_read(Path(other), other))
    return kernels


def _staged() -> NamedModule:
    path = find_project().package / FILENAMES["context"]
    if not path.is_file():
        raise FileMissingError(
            "no kernel is staged", where=str(path), hint="run `python -m build_tools kernel`, or name a file"
        )
    return _read(path, "ours")


def _read(path: Path, name: str) -> NamedModule:
    data = files.read_bounded(path)
    parse_module(data)  # it names what is wrong with bytes that are no module
    return NamedModule(name=name, data=data)
