"""The entry point: only here does a value or an error become text and a number."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from build_tools.base.errors import BuildToolsError, ExitCode
from build_tools.base.files import translate
from build_tools.base.findings import to_json
from build_tools.base.progress import has_colour
from build_tools.base.project import find_project
from build_tools.cli import release_parsers
from build_tools.cli.completion import SHELLS, render_script
from build_tools.cli.parsers import Parser, lazy
from build_tools.env.environment import explain_damage, missing_dependency
from build_tools.kernel.values import FLAVOURS
from build_tools.kernel.version import read_version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from build_tools.cli.parsers import Subparsers


# Commands that are programs of their own: what follows them is theirs, `--help` too.
PASS_THROUGH = frozenset({"bench", "campaign", "conformance"})


class _Version(argparse.Action):
    """Prints what `kernel-src/Cargo.toml` says."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:  # noqa: ANN401
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=options.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version and leave."""
        print(f"extism-kernel {read_version(find_project().cargo_toml)}")
        parser.exit()


class _LogHandler(logging.Handler):
    """Prints each record to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="python -m build_tools", description="Builds, checks and publishes the Extism kernel."
    )
    parser.add_argument("--version", action=_Version, help="show the version of this checkout and leave")
    parser.add_argument("--no-bootstrap", action="store_true", help="use this Python as it is; make no .venv")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the commands that are run")
    subparsers: Subparsers = parser.add_subparsers(dest="command_name", metavar="COMMAND", required=True)
    _add_kernel(subparsers)
    _add_checks(subparsers)
    _add_tools(subparsers)
    _add_downstream(subparsers)
    release_parsers.add_parsers(subparsers)
    return parser


def _add_kernel(subparsers: Subparsers) -> None:
    kernel = subparsers.add_parser("kernel", help="compile, validate, stamp and stage the kernel")
    kernel.add_argument(
        "--out", type=Path, metavar="DIR", help="stage there instead of in extism_kernel_pkg/"
    )
    kernel.add_argument(
        "--prebuilt", type=Path, metavar="FILE", help="validate and stage this module; no compiler"
    )
    kernel.add_argument("--force", action="store_true", help="build even if nothing has changed")
    kernel.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="CODE",
        help="stage despite findings of this code, to work on the kernel; such a kernel is never released",
    )
    kernel.add_argument(
        "--record", action="store_true", help="write the digests into kernel-src/canonical.json"
    )
    kernel.add_argument("--offline", action="store_true", help="download nothing")
    kernel.add_argument("--json", action="store_true", help="print the result as JSON")
    kernel.set_defaults(command=lazy("cli.stage", "kernel"))


def _add_checks(subparsers: Subparsers) -> None:
    inspect = subparsers.add_parser("inspect", help="show the facts of a module")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--json", action="store_true")
    inspect.set_defaults(command=lazy("cli.kernel", "inspect"))
    abi = subparsers.add_parser("abi", help="hold modules against the ABI").add_subparsers(
        dest="abi_command", metavar="check|diff", required=True
    )
    check = abi.add_parser("check", help="list what a module breaks of the contract")
    check.add_argument("file", type=Path)
    check.add_argument("--flavour", choices=FLAVOURS, help="default: as the file claims")
    check.add_argument("--json", action="store_true")
    check.set_defaults(command=lazy("cli.kernel", "abi_check"))
    diff = abi.add_parser("diff", help="list what changed between two modules, and the version step")
    diff.add_argument("old", type=Path)
    diff.add_argument("new", type=Path)
    diff.add_argument("--json", action="store_true")
    diff.set_defaults(command=lazy("cli.kernel", "abi_diff"))


def _add_downstream(subparsers: Subparsers) -> None:
    downstream = subparsers.add_parser(
        "downstream", help="set real SDKs beside the same SDKs with this kernel inside"
    )
    downstream.add_argument(
        "sdks", nargs="*", metavar="SDK", help="rust, go, java, javascript, wamr; default: all"
    )
    downstream.add_argument("--kernel", type=Path, metavar="FILE", help="default: the staged kernel")
    downstream.add_argument(
        "--part",
        action="append",
        choices=("cases", "tests", "workloads", "plugins"),
        help="only this part of the comparison; may be repeated",
    )
    downstream.add_argument(
        "--report", type=Path, metavar="FILE", help="take the cases from a report of the suite; run none"
    )
    downstream.add_argument(
        "--programs", type=Path, metavar="DIR", help="write a small program for each failure that remains"
    )
    downstream.add_argument(
        "--matrix",
        type=Path,
        metavar="FILE",
        help="with --markdown: add the runtimes of this report of the suite",
    )
    downstream.add_argument("--svg", type=Path, metavar="FILE", help="also write a chart")
    shape = downstream.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--markdown", action="store_true", help="print the text of RESULTS.md")
    downstream.set_defaults(command=lazy("downstream.command", "downstream"))


def _add_tools(subparsers: Subparsers) -> None:
    test = subparsers.add_parser("test", help="run everything that a submission must pass")
    test.add_argument(
        "-k", dest="expression", metavar="EXPRESSION", help="only the tests that pytest's -k selects"
    )
    test.add_argument(
        "--fast", action="store_true", help="leave out what takes minutes, and say what that is"
    )
    test.add_argument(
        "--costs", type=int, default=0, metavar="N", help="list the N tests that took the most CPU time"
    )
    test.add_argument("--strict", action="store_true", help="count what was skipped as failed")
    test.set_defaults(command=lazy("cli.test", "test"))
    doctor = subparsers.add_parser("doctor", help="say what this machine has, and what to run for the rest")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=lazy("cli.tools", "doctor"))
    bench = subparsers.add_parser("bench", help="count the cost of every export on a staged kernel")
    bench.set_defaults(command=lazy("cli.tools", "bench"))
    proof = subparsers.add_parser(
        "prove", help="prove of a finished module, for every argument and state, what guests cannot do"
    )
    proof.add_argument("file", nargs="?", type=Path, help="default: the staged core flavour")
    shape = proof.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--markdown", action="store_true", help="print the text of kernel-src/PROOF.md")
    proof.set_defaults(command=lazy("cli.proof", "prove"))
    clauses = subparsers.add_parser("clauses", help="list the tests that hold each clause of the contract")
    shape = clauses.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--markdown", action="store_true", help="print the text of kernel-src/COVERAGE.md")
    clauses.set_defaults(command=lazy("cli.tools", "clauses"))
    suite = subparsers.add_parser(
        "conformance", help="judge the staged kernel on runtimes, or run a command of the suite"
    )
    suite.set_defaults(command=lazy("cli.tools", "conformance"))
    campaign = subparsers.add_parser(
        "campaign", help="run a long measurement of the tests; without a name, list them"
    )
    campaign.set_defaults(command=lazy("cli.campaigns", "campaign"))
    site = subparsers.add_parser("site", help="build the site from the Markdown of this repository")
    site.add_argument("--out", type=Path, metavar="DIR", help="default: build/site/")
    site.set_defaults(command=lazy("cli.tools", "site"))
    completion = subparsers.add_parser("completion", help="print a script that completes these commands")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(command=_print_completion)
    relock = subparsers.add_parser("relock", help="resolve the pinned dependencies anew (needs uv)")
    relock.set_defaults(command=lazy("cli.tools", "relock"))


def _print_completion(args: argparse.Namespace) -> int:
    """Print the script for one shell."""
    print(render_script(make_parser(), args.shell), end="")
    return ExitCode.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # modules and paths hold what an encoding may lack
    try:
        return _main_inner(argv)
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where anything becomes text
        known = explain(error)
        known = known or explain_damage() or _our_bug(error)
        print(paint(known.render(), sys.stderr), file=sys.stderr)
        if is_json(argv):
            print(to_json(known.to_data()), flush=True)
        return known.exit_code


def is_json(argv: Sequence[str] | None) -> bool:
    """Say whether a command line asks for JSON; it may be one that cannot be parsed."""
    own, _ = split_arguments(sys.argv[1:] if argv is None else argv)
    return "--json" in own


def paint(text: str, stream: TextIO) -> str:
    """Return the text with its first word (`error[code]:`) in red where `stream` shows colours."""
    head, colon, rest = text.partition(": ")
    return f"\x1b[1;31m{head}{colon}\x1b[0m{rest}" if has_colour(stream) else text


def explain(error: Exception) -> BuildToolsError | None:
    """Return the error as one that a person can fix, or `None` if it is a bug of ours."""
    if isinstance(error, BuildToolsError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_dependency(error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EROFS, errno.EDQUOT}:
        return translate(error, Path(error.filename or "."))
    return None


def _main_inner(argv: Sequence[str] | None) -> int:
    own, handed_on = split_arguments(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(own)
    args.arguments = handed_on
    level = logging.DEBUG if args.verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[_LogHandler()], force=True)
    code: int = args.command(args)
    sys.stdout.flush()
    return code


def split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what our parser reads, and what a command with a parser of its own gets unread."""
    for at, word in enumerate(argv):
        if word in PASS_THROUGH:
            return list(argv[: at + 1]), list(argv[at + 1 :])
        if not word.startswith("-"):
            break
    return list(argv), []


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signal's signature
    raise KeyboardInterrupt


def _our_bug(error: BaseException) -> BuildToolsError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    if os.environ.get("EXTISM_KERNEL_TRACEBACK"):
        traceback.print_exception(error)
    return BuildToolsError(
        f"{type(error).__name__}: {error}",
        where=where,
        hint="this is a bug of build_tools; report it with the output of EXTISM_KERNEL_TRACEBACK=1",
    )
