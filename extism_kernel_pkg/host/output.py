"""What a guest writes to stdout and stderr: kept for errors, logged line by line, copied if asked."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.text import printable

if TYPE_CHECKING:
    from extism_kernel_pkg.host.wasi_options import WasiOptions

STDOUT, STDERR = 1, 2
"""Descriptors."""

VARIABLE: Final = "EXTISM_ENABLE_WASI_OUTPUT"
"""If it is set and not empty, the output of every guest also goes to that of the process."""

_NAMES: Final = {STDOUT: "stdout", STDERR: "stderr"}
_KEPT_BYTES: Final = 8192
_KEPT_LINES: Final = 20
_LONGEST_LINE: Final = 1024


class GuestOutput:
    """The output of one plug-in, by one call at a time.

    Lines go to `logger` at `logging.INFO`, with `stdout: ` or `stderr: ` before them. The streams of the
    options get the bytes as they come; what they raise ends the call.
    """

    def __init__(self, logger: logging.Logger, options: WasiOptions) -> None:
        self.options = options
        self._logger = logger
        self._streams = {STDOUT: options.stdout, STDERR: options.stderr}
        self.begin()

    def begin(self) -> None:
        """Begin a call: forget what was kept of the call before."""
        self._kept = {STDOUT: b"", STDERR: b""}
        self._open_line = {STDOUT: b"", STDERR: b""}

    def write(self, descriptor: int, data: bytes) -> None:
        """Take what the guest writes."""
        self._kept[descriptor] = (self._kept[descriptor] + data[-_KEPT_BYTES:])[-_KEPT_BYTES:]
        stream = self._streams[descriptor]
        if stream is not None:
            stream.write(data)
        if os.environ.get(VARIABLE):
            _write_all(descriptor, data)
        if self._logger.isEnabledFor(logging.INFO):
            *lines, rest = (self._open_line[descriptor] + data).split(b"\n")
            self._open_line[descriptor] = rest[-_LONGEST_LINE:]
            for line in lines:
                self._log(descriptor, line)

    def finish(self) -> None:
        """End a call: log the lines that the guest did not end."""
        for descriptor, line in self._open_line.items():
            if line:
                self._log(descriptor, line)
                self._open_line[descriptor] = b""

    def last_lines(self, descriptor: int) -> tuple[str, ...]:
        """Return the last lines of the running call, escaped."""
        lines = self._kept[descriptor].decode(errors="replace").splitlines()
        return tuple(printable(line[:_LONGEST_LINE].expandtabs(4)) for line in lines[-_KEPT_LINES:])

    def _log(self, descriptor: int, line: bytes) -> None:
        text = printable(line[:_LONGEST_LINE].removesuffix(b"\r").decode(errors="replace"))
        self._logger.info("%s: %s", _NAMES[descriptor], text)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write to the process's own descriptor; an output that is closed is no affair of the guest."""
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        return
