"""What all parsers of the command line share."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from build_tools.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[Any]  # noqa: SLF001 - it has no public name


CHOICE = re.compile(r"invalid choice: '?(?P<given>.*?)'? \(choose from (?P<choices>.*)\)$", re.DOTALL)
UNKNOWN = re.compile(r"unrecognized arguments: (?P<given>\S+)")


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of printing and leaving, and says what may have been meant."""

    # The one that read last: what the outermost parser does not recognise was meant for it.
    latest: ClassVar[Parser | None] = None
    _fill: Callable[[Parser], object] | None = None

    def fill_later(self, fill: Callable[[Parser], object]) -> None:
        """Have `fill` add the arguments when they are needed, for what it imports."""
        self._fill = fill

    def fill(self) -> None:
        """Add the arguments that were left for later."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def format_help(self) -> str:
        """Return the help, with the arguments that were left for later."""
        self.fill()
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse's
        """Parse as argparse does, and remember whose turn it was."""
        Parser.latest = self
        self.fill()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the parser's message."""
        parser = Parser.latest or self
        meant = parser.find_meant(message)
        hint = f"`{parser.prog} --help` lists what there is"
        raise UsageError(message, hint=f"did you mean `{meant}`? {hint}" if meant else hint)

    def find_meant(self, message: str) -> str | None:
        """Return the command or the option that is nearest to the one that a message refuses."""
        if match := CHOICE.search(message):
            known = re.findall(r"[\w.-]+", match["choices"])
        elif match := UNKNOWN.search(message):
            known = list(self._option_string_actions)
        else:
            return None
        given = match["given"].partition("=")[0]
        return next(iter(difflib.get_close_matches(given, known, n=1)), None)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Flush standard output, then leave."""
        # Here rather than at Python's own end, where a closed pipe would be an error.
        sys.stdout.flush()
        super().exit(status, message)


def lazy(module: str, function: str) -> Callable[[Any], Any]:
    """Return a function that is imported when it runs, so that `--help` needs no dependency."""

    def call(argument: Any) -> Any:  # noqa: ANN401 - a command's arguments, or a parser to fill
        return getattr(importlib.import_module(f"build_tools.{module}"), function)(argument)

    return call
