"""Counts how many broken kernels the cases notice: `run.py KERNEL.wasm --jobs 2`."""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from typing import TYPE_CHECKING  # noqa: E402 - the path comes first

from kernel_mutants.campaign import (  # noqa: E402
    Baseline,
    BaselineError,
    Verdict,
    make_baseline,
    run_campaign,
    take_as_alive,
)
from kernel_mutants.code import Code, CodeError, read_code  # noqa: E402
from kernel_mutants.equivalents import Equivalents, EquivalentsError, load_equivalents  # noqa: E402
from kernel_mutants.names import NamesError, read_names  # noqa: E402
from kernel_mutants.operators import Mutant, find_mutants  # noqa: E402
from kernel_mutants.replay import NodeNotFoundError, find_node  # noqa: E402
from kernel_mutants.resume import Ledger, ResumeError  # noqa: E402
from kernel_mutants.score import (  # noqa: E402
    find_killed_equivalents,
    score,
    write_score,
    write_survivors,
    write_table,
)
from kernel_mutants.survivors import merge_reasons, read_keys, write_judging  # noqa: E402
from kernel_mutants.trial import load_trial_cases  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERY = 100
_ERRORS = (CodeError, NamesError, BaselineError, EquivalentsError, NodeNotFoundError, ResumeError, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutants and return 0 if enough were killed in every function, 1 if not, 2 for bad usage."""
    args = _make_parser().parse_args(argv)
    try:
        return _run(args)
    except _ERRORS as error:
        print(f"error[mutants]: {error}\n  at: {args.kernel}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    if args.merge is not None:
        added, left = merge_reasons(args.merge, args.equivalent)
        print(f"{added} mutants are listed as equivalent now; {left} survivors have no reason yet")
        return 0
    if args.noted and args.resume is None:
        print("error[mutants]: --noted reads the file of --resume\nhint: add --resume FILE", file=sys.stderr)
        return 2
    kernel = args.kernel.read_bytes()
    code = read_code(kernel)
    if args.names is not None:
        code = read_code(kernel, read_names(args.names.read_bytes(), code))
    equivalents = load_equivalents(args.equivalent)
    mutants = list(find_mutants(code))
    chosen = _choose(mutants, args)
    if not chosen:
        print(
            "error[mutants]: no mutant matches\nhint: run with --list to see the functions", file=sys.stderr
        )
        return 2
    if args.list:
        print(
            "\n".join(
                f"{each.key}  {each.before} -> {each.after}" for each in map(mutants.__getitem__, chosen)
            )
        )
        return 0
    baseline, verdicts = _try(kernel, code, chosen, equivalents, args)
    scores = score(verdicts, equivalents)
    wrong = find_killed_equivalents(verdicts, equivalents)
    print("\n".join((*write_table(scores), "", *write_survivors(scores))))
    for verdict in wrong:
        print(f"listed as equivalent, but {verdict.killer} kills it: {verdict.mutant.key}")
    if args.score is not None:
        write_score(
            args.score, kernel, scores, baseline.excluded, _describe(args, len(verdicts), len(mutants))
        )
    if args.survivors is not None:
        write_judging(args.survivors, scores)
    return 0 if all(each.is_enough for each in scores) and not wrong else 1


def _describe(args: argparse.Namespace, tried: int, total: int) -> str:
    """Return the command line that gives the score, and what of the campaign it leaves out."""
    command = f"run.py {args.kernel.name} {'--names RAW.wasm ' if args.names else ''}--score SCORE.md"
    if args.skip_slow:
        command += " --skip-slow"
    if args.noted:
        return f"`{command} --resume LEDGER --noted` (who was not tried with every case counts as a survivor)"
    return f"`{command}`" if tried == total else f"`{command}` ({tried} of {total} mutants)"


def _try(
    kernel: bytes, code: Code, chosen: Sequence[int], equivalents: Equivalents, args: argparse.Namespace
) -> tuple[Baseline, list[Verdict]]:
    """Try the mutants; the survivors found so far are written from time to time, for who cannot wait."""
    if not args.no_replay:
        find_node()
    start = time.monotonic()
    cases = {case.id: case for case in load_trial_cases(args.cases) if not (case.slow and args.skip_slow)}
    ledger = Ledger(args.resume, kernel, cases)
    mutants = tuple(find_mutants(code))
    known = ledger.find(mutants, chosen)
    if known:
        print(f"{len(known)} of {len(chosen)} mutants were judged before", file=sys.stderr)
    verdicts = list(known.values())
    if args.noted:
        alive = take_as_alive(code, [number for number in chosen if number not in known])
        return Baseline(costs={}, traces=(), excluded={}, reached=None), verdicts + alive
    left = {number: ledger.find_survived(number) for number in chosen if number not in known}
    # What all that are left survived is not played again: the unbroken kernel passed it then.
    wanted = cases.keys() - frozenset.intersection(*map(frozenset, left.values())) if left else set()
    baseline = make_baseline(
        kernel, [case for case in cases.values() if case.id in wanted], is_quick=not args.no_replay
    )
    for case, found in sorted(baseline.excluded.items()):
        print(f"left out, the unbroken kernel fails it: {case}: {found}", file=sys.stderr)
    print(f"{len(baseline.costs)} cases recorded in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if args.minutes is not None:
        # In any order, so that what there is time for is spread over all functions.
        numbers = list(left)
        random.Random(args.seed).shuffle(numbers)  # noqa: S311 - a choice, no secret
        left = {number: left[number] for number in numbers}
    for number, verdict in run_campaign(code, args.cases, baseline, left, jobs=args.jobs):
        verdicts.append(verdict)
        ledger.note(number, verdict, baseline.costs)
        if len(verdicts) % _EVERY == 0:
            survived = sum(each.killer == "" for each in verdicts)
            print(
                f"{len(verdicts)} of {len(chosen)} mutants tried in {time.monotonic() - start:.0f} s, "
                f"{survived} of them survived",
                file=sys.stderr,
            )
            if args.survivors is not None:
                write_judging(args.survivors, score(verdicts, equivalents))
        if args.minutes is not None and time.monotonic() - start > 60 * args.minutes:
            break
    return baseline, verdicts


def _choose(mutants: Sequence[Mutant], args: argparse.Namespace) -> list[int]:
    numbers = [n for n, mutant in enumerate(mutants) if args.function in {None, mutant.function.name}]
    keys = {*args.key, *(read_keys(args.only) if args.only is not None else ())}
    if args.key or args.only is not None:
        numbers = [number for number in numbers if mutants[number].key in keys]
    if args.sample is not None and args.sample < len(numbers):
        numbers = sorted(random.Random(args.seed).sample(numbers, args.sample))  # noqa: S311 - a choice, no secret
    return numbers


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("kernel", type=Path, help="the finished module to break")
    parser.add_argument(
        "--names",
        type=Path,
        metavar="RAW.wasm",
        help="the linker's module, which has the names of functions that are not exported; in kernel-src/ "
        "`cargo rustc --release --lib --crate-type cdylib --target wasm32-unknown-unknown` makes it",
    )
    parser.add_argument("--jobs", type=_count, default=1, help="processes (default 1)")
    parser.add_argument("--sample", type=_count, help="try only so many mutants, chosen at random")
    parser.add_argument(
        "--seed", type=int, default=1, help="what the choice of a sample follows from (default 1)"
    )
    parser.add_argument("--function", help="try only the mutants of one function")
    parser.add_argument(
        "--key", action="append", default=[], help="try only this mutant (may be given again)"
    )
    parser.add_argument(
        "--only", type=Path, metavar="FILE", help="try only the mutants in a file of --survivors"
    )
    parser.add_argument("--skip-slow", action="store_true", help="do without the slow cases")
    parser.add_argument(
        "--minutes",
        type=_minutes,
        metavar="N",
        help="end after N minutes; the mutants come in any order then",
    )
    parser.add_argument("--list", action="store_true", help="list the mutants instead of trying them")
    parser.add_argument("--no-replay", action="store_true", help="do without Node, many times slower")
    parser.add_argument("--score", type=Path, help="write the table and the survivors to this Markdown file")
    parser.add_argument(
        "--survivors",
        type=Path,
        metavar="FILE",
        help="write the survivors to this file, for a person to judge",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="note the verdicts in this file, and try no mutant again with a case that has not changed since",
    )
    parser.add_argument(
        "--noted",
        action="store_true",
        help="try nothing: score what the file of --resume says; all that it does not kill survived",
    )
    parser.add_argument(
        "--merge",
        type=Path,
        metavar="FILE",
        help="copy the survivors of that file that have a reason to the list of equivalent mutants, and end",
    )
    parser.add_argument("--cases", type=Path, default=HERE.parent / "cases", help="folder of the cases")
    parser.add_argument(
        "--equivalent", type=Path, default=HERE / "equivalent.json", help="list of equivalent mutants"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"`{text}` is no count; give a whole number above 0")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no time in minutes; give a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
