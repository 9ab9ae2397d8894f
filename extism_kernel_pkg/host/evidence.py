"""What an error tells about the call that it ended: where it was, what it used, what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEAR: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One function on the guest's stack, by its name section; `file` and `line` by its DWARF, if any.

    `offset` is the place in the module's bytes. A function that was inlined has the offset of its caller.
    """

    function: str
    offset: int | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = "" if self.offset is None else f" (offset {self.offset:#x})"
        if self.file is not None:
            place = f" at {self.file}" + ("" if self.line is None else f":{self.line}")
        return self.function + place


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """How much of one limit a call had used: `time` in ms, `memory` in pages, `vars` in bytes, `fuel`."""

    name: str
    used: int
    limit: int
    unit: str

    @property
    def is_near(self) -> bool:
        """Return whether four fifths or more of it were used."""
        return self.used >= _NEAR * self.limit

    def __str__(self) -> str:
        near = ", near its limit" if self.is_near else ""
        return f"{self.name} {self.used} of {self.limit} {self.unit}{near}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """What the kernel held when a call ended: live blocks, their bytes, and the pages of its memory."""

    blocks: int
    bytes: int
    pages: int

    def __str__(self) -> str:
        return f"{self.blocks} live blocks with {self.bytes} bytes in {self.pages} pages"


def _fold(frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """Return the frames as lines, with a function that calls itself once."""
    groups = ((frame, len(list(same))) for frame, same in groupby(frames))
    return tuple(f"{frame}" + (f", {count} times" if count > 1 else "") for frame, count in groups)


def render_evidence(
    *,
    frames: tuple[Frame, ...],
    stdout: tuple[str, ...],
    stderr: tuple[str, ...],
    limits: tuple[LimitUse, ...],
    kernel: KernelUse | None,
) -> Iterator[str]:
    """Yield the lines that `PluginError.render` adds: what the guest wrote, its frames, its limits."""
    for name, lines in (("stderr", stderr), ("stdout", stdout), ("frames", _fold(frames))):
        if lines:
            yield f"{name}:"
            yield from (f"  {line}" for line in lines)
    if limits:
        yield f"used: {'; '.join(map(str, limits))}"
    if kernel is not None:
        yield f"kernel: {kernel}"
