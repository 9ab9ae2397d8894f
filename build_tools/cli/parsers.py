"""What all parsers of the command line share."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from build_tools.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[Any]  # noqa: SLF001 - it has no public name


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the parser's message."""
        raise UsageError(message, hint=f"`{self.prog} --help` lists what there is")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Flush standard output, then leave."""
        # Here rather than at Python's own end, where a reader that has enough would be an error.
        sys.stdout.flush()
        super().exit(status, message)


def lazy(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return a command that is imported when it runs, so that `--help` needs no dependency."""

    def command(args: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(f"build_tools.{module}"), function)(args)
        return code

    return command
