"""Showing that a long step goes on: a line that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

BAR_WIDTH = 24
REDRAW_SECONDS = 0.1
MEGABYTE = 1_000_000


def is_terminal(stream: TextIO) -> bool:
    """Say whether a line on `stream` can be redrawn."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Say whether `stream` may be coloured: a terminal, and NO_COLOR unset or empty."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


class Progress:
    """A step with an end in sight (`total` bytes) or without one (`total` is 0)."""

    def __init__(self, label: str, total: int = 0, stream: TextIO | None = None) -> None:
        self.label = label
        self.total = total
        self.stream = sys.stderr if stream is None else stream
        self.is_live = is_terminal(self.stream)
        self.started = time.monotonic()
        self.drawn = 0.0
        self.quarter = 0

    def __enter__(self) -> Self:
        if not self.is_live:
            size = f" ({self.total / MEGABYTE:.0f} MB)" if self.total else ""
            print(f"{self.label}{size} ...", file=self.stream, flush=True)
        return self

    def update(self, done: int = 0) -> None:
        """Redraw with `done` bytes of the total; call as often as you like."""
        now = time.monotonic()
        if not self.is_live:
            self._plain(done)
        elif now - self.drawn >= REDRAW_SECONDS:
            self.drawn = now
            self._draw(f"{self.label} {self._bar(done)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_live:
            took = time.monotonic() - self.started
            word = "done" if kind is None else "stopped"
            self._draw(f"{self.label}: {word} after {took:.1f} s")
            print(file=self.stream, flush=True)

    def _plain(self, done: int) -> None:
        quarter = 4 * done // self.total if self.total else 0
        if self.quarter < quarter < 4:  # noqa: PLR2004 - four quarters
            self.quarter = quarter
            print(f"{self.label} ... {25 * quarter} %", file=self.stream, flush=True)

    def _bar(self, done: int) -> str:
        took = time.monotonic() - self.started
        if not self.total:
            return f"... {took:.0f} s"
        share = min(done / self.total, 1.0)
        full = round(share * BAR_WIDTH)
        bar = "#" * full + "-" * (BAR_WIDTH - full)
        return f"[{bar}] {done / MEGABYTE:5.1f}/{self.total / MEGABYTE:.1f} MB {took:.0f} s"

    def _draw(self, text: str) -> None:
        print(f"\r\x1b[2K{text}", end="", file=self.stream, flush=True)
