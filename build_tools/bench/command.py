"""`python -m build_tools bench`: what each export of a kernel costs, beside other kernels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from build_tools.base import files
from build_tools.base.cache import find_cache
from build_tools.base.errors import ExitCode, FileMissingError, UsageError
from build_tools.base.findings import to_json
from build_tools.base.progress import Progress
from build_tools.base.project import find_project
from build_tools.bench.costs import Kernel, measure
from build_tools.bench.cycles import time_cycles
from build_tools.bench.scenarios import SCENARIOS
from build_tools.bench.tables import costs_to_data, is_over, render_costs, render_markdown
from build_tools.bench.upstream import fetch_upstream
from build_tools.bench.worst import WORST
from build_tools.kernel.values import FILENAMES
from build_tools.wasm.module import parse_module

if TYPE_CHECKING:
    from collections.abc import Sequence

UPSTREAM = "upstream"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` lists what there is")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = _Parser(
        prog="python -m build_tools bench",
        description="Counts what each export of a kernel costs, in wasmtime fuel, and times a host's cycle. "
        "Exit code 1 means that the first kernel breaks a bound of C-1 to C-3.",
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
    parser.add_argument("--no-wall", action="store_true", help="count fuel only; time nothing")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the figures as JSON")
    shape.add_argument("--markdown", action="store_true", help="print the text of kernel-src/COSTS.md")
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure and print. Raises BuildToolsError for a file that is no kernel or cannot be had."""
    args = make_parser().parse_args(argv)
    kernels = find_kernels(args.files, args.against)
    scenarios = SCENARIOS + WORST if args.worst else SCENARIOS
    with Progress(f"counting {len(scenarios)} scenarios on {len(kernels)} kernel(s)") as progress:
        progress.update()
        all_costs = [measure(kernels[0], scenarios)]
        for kernel in kernels[1:]:
            progress.update()
            all_costs.append(measure(kernel))
    cycles = () if args.no_wall else time_cycles(kernels)
    if args.json:
        print(to_json(costs_to_data(scenarios, all_costs, cycles)))
    else:
        render = render_markdown if args.markdown else render_costs
        print(render(scenarios, all_costs, cycles))
    pairs = zip(scenarios, all_costs[0].costs, strict=True)
    return ExitCode.FINDINGS if any(is_over(*pair) for pair in pairs) else ExitCode.DONE


def find_kernels(paths: Sequence[Path], against: Sequence[str]) -> list[Kernel]:
    """Return the kernels that a command line names; without any file, the staged one comes first."""
    kernels = [_read(path, str(path)) for path in paths] or [_staged()]
    for other in against:
        if other == UPSTREAM:
            kernels.append(Kernel(name=UPSTREAM, data=fetch_upstream(find_cache()).data))
        else:
            kernels.append(_read(Path(other), other))
    return kernels


def _staged() -> Kernel:
    path = find_project().package / FILENAMES["context"]
    if not path.is_file():
        raise FileMissingError(
            "no kernel is staged", where=str(path), hint="run `python -m build_tools kernel`, or name a file"
        )
    return _read(path, "ours")


def _read(path: Path, name: str) -> Kernel:
    data = files.read_bounded(path)
    parse_module(data)  # it names what is wrong with bytes that are no module
    return Kernel(name=name, data=data)
