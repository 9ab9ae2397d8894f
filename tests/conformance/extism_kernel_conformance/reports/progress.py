"""What a person sees on stderr during a run: one rewritten line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from extism_kernel_conformance.base.outcome import RED

if TYPE_CHECKING:
    from extism_kernel_conformance.run.result import Result


class ProgressLine:
    """Counts results of all configurations; safe to call from several threads."""

    def __init__(self, configurations: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._left = configurations
        self._verdicts: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._last = 0.0

    def __call__(self, configuration: str, result: Result | None, total: int) -> None:
        """Take note of one result, or of the end of a configuration."""
        with self._lock:
            if result is None:
                self._left -= 1
                if not self._is_terminal:
                    count = self._done[configuration]
                    print(
                        f"{configuration}: {count} of {total} cases, {self._left} configurations left",
                        file=self._stream,
                    )
            else:
                self._done[configuration] += result.case is not None
                self._verdicts[result.outcome.verdict] += 1
                if result.outcome.verdict in RED and not self._is_terminal:
                    print(f"{configuration}: {result.outcome.verdict} {result.id}", file=self._stream)
            self._draw(configuration, total)

    def end(self) -> None:
        """Leave the terminal's line clean."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def _draw(self, configuration: str, total: int) -> None:
        now = time.monotonic()
        if not self._is_terminal or now - self._last < 0.1:
            return
        self._last = now
        red = sum(self._verdicts[name] for name in RED)
        text = (
            f"{configuration} {self._done[configuration]}/{total} | {self._verdicts['pass']} pass, {red} red"
        )
        print(f"\r\x1b[K{text} | {self._left} configurations left", end="", file=self._stream, flush=True)
