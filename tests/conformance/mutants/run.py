"""Counts how many broken kernels the cases notice: `run.py KERNEL.wasm --jobs 2`."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from typing import TYPE_CHECKING  # noqa: E402 - the path comes first

from kernel_mutants.campaign import BaselineError, Verdict, make_baseline, run_campaign  # noqa: E402
from kernel_mutants.code import CodeError, read_code  # noqa: E402
from kernel_mutants.equivalents import EquivalentsError, load_equivalents  # noqa: E402
from kernel_mutants.operators import Mutant, find_mutants  # noqa: E402
from kernel_mutants.replay import NodeNotFoundError, find_node  # noqa: E402
from kernel_mutants.score import (  # noqa: E402
    ENOUGH,
    FunctionScore,
    find_killed_equivalents,
    score,
    write_survivors,
    write_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EVERY = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutants and return 0 if enough were killed in every function, 1 if not, 2 for bad usage."""
    args = _make_parser().parse_args(argv)
    try:
        return _run(args)
    except (CodeError, BaselineError, EquivalentsError, NodeNotFoundError, OSError) as error:
        print(f"error[mutants]: {error}\n  at: {args.kernel}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    kernel = args.kernel.read_bytes()
    equivalents = load_equivalents(args.equivalent)
    mutants = list(find_mutants(read_code(kernel)))
    chosen = _choose(mutants, args)
    if not chosen:
        print(
            "error[mutants]: no mutant matches\nhint: run with --list to see the functions", file=sys.stderr
        )
        return 2
    if args.list:
        for number in chosen:
            print(f"{mutants[number].key}  {mutants[number].before} -> {mutants[number].after}")
        return 0
    if not args.no_replay:
        find_node()
    baseline = make_baseline(kernel, args.cases)
    excluded = baseline.excluded
    for case, found in sorted(excluded.items()):
        print(f"left out, the unbroken kernel fails it: {case}: {found}", file=sys.stderr)
    verdicts: list[Verdict] = []
    for verdict in run_campaign(
        kernel, args.cases, baseline, chosen, jobs=args.jobs, is_quick=not args.no_replay
    ):
        verdicts.append(verdict)
        if len(verdicts) % _EVERY == 0:
            print(f"{len(verdicts)} of {len(chosen)} mutants tried", file=sys.stderr)
    scores = score(verdicts, equivalents)
    wrong = find_killed_equivalents(verdicts, equivalents)
    print("\n".join(write_table(scores)))
    print()
    print("\n".join(write_survivors(scores)))
    for verdict in wrong:
        print(f"listed as equivalent, but {verdict.killer} kills it: {verdict.mutant.key}")
    if args.score is not None:
        _write_score(args.score, kernel, scores, excluded, args)
    return 0 if all(each.is_enough for each in scores) and not wrong else 1


def _choose(mutants: Sequence[Mutant], args: argparse.Namespace) -> list[int]:
    numbers = [n for n, mutant in enumerate(mutants) if args.function in {None, mutant.function.name}]
    if args.key:
        numbers = [number for number in numbers if mutants[number].key in args.key]
    if args.sample is not None and args.sample < len(numbers):
        numbers = sorted(random.Random(args.seed).sample(numbers, args.sample))  # noqa: S311 - a choice, no secret
    return numbers


def _write_score(
    path: Path,
    kernel: bytes,
    scores: Sequence[FunctionScore],
    excluded: Mapping[str, str],
    args: argparse.Namespace,
) -> None:
    part = "" if args.sample is None and args.function is None else " (a part of them: not the suite's score)"
    lines = [
        "# Mutant score",
        "",
        f"Command: `python tests/conformance/mutants/run.py {args.kernel.name} --score SCORE.md`{part}  ",
        f"Kernel: {len(kernel)} bytes, sha256 `{hashlib.sha256(kernel).hexdigest()}`",
        "",
        f"Each row must reach {ENOUGH:.0%}. Equivalent mutants: `equivalent.json`, each with its reason.",
        "",
        *write_table(scores),
    ]
    if excluded:
        lines += ["", "Cases left out because the unbroken kernel fails them:", ""]
        lines += [f"- `{case}`" for case in sorted(excluded)]
    survivors = list(write_survivors(scores))
    if survivors:
        lines += ["", "## Survivors", "", "```", *survivors, "```"]
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("kernel", type=Path, help="the finished module to break")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--sample", type=int, help="try only so many mutants, chosen at random")
    parser.add_argument(
        "--seed", type=int, default=1, help="what the choice of a sample follows from (default 1)"
    )
    parser.add_argument("--function", help="try only the mutants of one function")
    parser.add_argument("--key", action="append", help="try only this mutant (may be given again)")
    parser.add_argument("--list", action="store_true", help="list the mutants instead of trying them")
    parser.add_argument("--no-replay", action="store_true", help="do without Node, many times slower")
    parser.add_argument("--score", type=Path, help="write the table and the survivors to this Markdown file")
    parser.add_argument("--cases", type=Path, default=HERE.parent / "cases", help="folder of the cases")
    parser.add_argument(
        "--equivalent", type=Path, default=HERE / "equivalent.json", help="list of equivalent mutants"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
