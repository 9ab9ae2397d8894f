"""The command line. Only here does an error become text and a number."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from extism_kernel_conformance.base.errors import ExitCode, SuiteError
from extism_kernel_conformance.base.resources import suite_info
from extism_kernel_conformance.cli import data as cli_data
from extism_kernel_conformance.cli import run as cli_run
from extism_kernel_conformance.cli import start as cli_start

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # adapters end with us in both cases
    output = _Output(sys.stdout)
    try:
        with contextlib.redirect_stdout(output):
            code = int(args.run(args))
        output.flush()  # here, where a full disk has an exit code
    except SuiteError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a file that was to be written; what is read has errors of its own
        print(f"error[file]: {error.strerror or error}\n  at: {error.filename or '?'}", file=sys.stderr)
        return ExitCode.TOOL
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return code


class _Output:
    """Standard output whose reader, `head` for one, may leave early: that does not change the verdict."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: TextIO = stream or io.StringIO()  # there is none if the shell closed it

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._mute()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._mute()

    def _mute(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="extism-kernel-conformance",
        description="Judge an Extism kernel on any WebAssembly runtime.",
        epilog="exit codes: 0 green, 1 red, 2 wrong usage, 4 a file or tool failed, 5 malformed input, "
        "130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {suite_info().version}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    cli_run.add_commands(commands)
    cli_start.add_commands(commands)
    cli_data.add_commands(commands)
    return parser


def existing_file(text: str) -> Path:
    """Return a path for argparse, refusing one that is no file."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file `{text}`")
    return path
