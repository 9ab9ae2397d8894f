"""Reads the frames of the runtime's messages: its interface for C does not give the lines of sources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from extism_kernel_pkg.host.evidence import Frame
from extism_kernel_pkg.host.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAME: Final = re.compile(r"\s*\d+:\s+(?:0x([0-9a-f]+) - )?(.+)")
_INLINED: Final = re.compile(r"\s+- (.+)")
_PLACE: Final = re.compile(r"\s+at (.+?)(?::(\d+))?(?::(\d+))?")
_HASHES: Final = re.compile(r"(?<=\w)\[[0-9a-f]+\]|::h[0-9a-f]{16}\b")
"""What Rust adds to names to make them unique."""
_UNNAMED: Final = "<unknown>!"
_BACKTRACE: Final = "wasm backtrace:"
_CAUSED_BY: Final = "Caused by:"


def parse_frames(message: str) -> tuple[Frame, ...]:
    """Return the frames of a runtime's message, innermost first; none if it has no backtrace.

    Names and files are the guest's, so they are escaped.
    """
    _, found, text = message.partition(_BACKTRACE)
    return tuple(_read_frames(text.partition(_CAUSED_BY)[0])) if found else ()


def _read_frames(text: str) -> Iterator[Frame]:
    function: str | None = None
    offset: int | None = None
    place: tuple[str | None, int | None] = None, None
    for line in text.splitlines():
        if (match := _PLACE.fullmatch(line)) is not None:
            place = printable(match[1]), int(match[2]) if match[2] else None
        elif (match := _FRAME.fullmatch(line) or _INLINED.fullmatch(line)) is not None:
            if function is not None:
                yield Frame(function=function, offset=offset, file=place[0], line=place[1])
            if match.re is _FRAME:
                offset = int(match[1], 16) if match[1] else None
            function, place = _readable(match[match.re.groups]), (None, None)
    if function is not None:
        yield Frame(function=function, offset=offset, file=place[0], line=place[1])


def _readable(name: str) -> str:
    return printable(_HASHES.sub("", name.removeprefix(_UNNAMED)))
