"""`python -m build_tools`: make an environment if there is none, then run the command."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Buffer


class _Output(io.FileIO):
    """Standard output that may be a closed pipe (`| head`): the exit code stays the command's."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def main() -> int:
    """Run the command line and return the exit code; Ctrl-C is one line, also while modules are imported."""
    try:
        _open_streams()
        _catch_signals()
        from build_tools.env.environment import ensure_environment, missing_dependency  # noqa: PLC0415 - see above

        code = ensure_environment(sys.argv[1:])
        if code is not None:
            return code
        try:
            from build_tools.cli.main import main as run_command  # noqa: PLC0415 - needs what the bootstrap makes
        except ModuleNotFoundError as error:
            known = missing_dependency(error)
            if known is None:
                raise
            print(known.render(), file=sys.stderr)
            return known.exit_code
        return run_command()
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left", file=sys.stderr)
        return 130


def _open_streams() -> None:
    """Open the standard streams that the caller closed on the null device, for children too."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - three times
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(null, True)  # noqa: FBT003 - it has no name to be passed by
            setattr(sys, name, os.fdopen(null, "w" if number else "r", encoding="utf-8", closefd=False))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(1, "w", closefd=False)),
        encoding=sys.stdout.encoding,
        line_buffering=sys.stdout.isatty(),
    )


def _catch_signals() -> None:
    """Treat a signal that ends this process as Ctrl-C, so that its children end too."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores its own
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signal's signature
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
