"""The tables of traces: what was played, on which modules, and which goals were missed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build_tools.bench.metered import PAGE_BYTES
from build_tools.bench.play import BUDGET, play_trace
from build_tools.bench.traces import CHURN, FILLS, MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from build_tools.bench.metered import NamedModule
    from build_tools.bench.play import Played
    from build_tools.bench.traces import Trace

PEERS = """\
*dlmalloc*, *rlsf* and *talc* are allocators from crates.io behind the kernel's exports. They neither clear
nor check, so theirs is the cost of finding memory alone."""
FILLING = f"""\
`alloc` on and on, nothing freed: instructions per call in the mean, and the most of one that was looked at
(of more than 2,000, those in the most expensive stretches). A byte that is cleared or copied counts 1/16. A
trace is given up after {BUDGET:,} instructions; it then has a `+`, or `-` if no call was counted.
{PEERS}"""
CHURNING = """\
A block of 1 to 256 bytes is freed, and one of another such length allocated: instructions per pair, bytes
that are cleared counted whole. Before that up to 40,000 pairs are done that do not count. The goal is ours:
no clause has it."""
MEMORY_TEXT = """\
Pages of memory in the end, and how many times the live bytes at their peak that is. Lengths between a few
bytes and many are chosen so that every doubling is equally likely. The goal is ours: no clause has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Traces of one table. `is_memory` says that pages are its figures, and not instructions."""

    title: str
    text: str
    traces: tuple[Trace, ...]
    clause: str | None = None
    is_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedGroup:
    """A group, played on modules of these names; `peaks` are the live bytes of each trace at their peak."""

    group: Group
    names: tuple[str, ...]
    played: tuple[tuple[Played, ...], ...]
    peaks: tuple[int, ...]

    @property
    def title(self) -> str:
        """What the table is called."""
        return self.group.title

    @property
    def text(self) -> str:
        """What its figures are."""
        return self.group.text

    def figures(self, number: int) -> list[float]:
        """Return what the goal of a trace is compared with, of each module."""
        if not self.group.is_memory:
            return [each.mean for each in self.played[number]]
        return [each.pages * PAGE_BYTES / self.peaks[number] for each in self.played[number]]

    def missed(self) -> Iterator[Trace]:
        """Yield the traces whose goal the first module misses, or which it does not finish."""
        for number, trace in enumerate(self.group.traces):
            if self.figures(number)[0] > trace.goal or self.played[number][0].end is not None:
                yield trace

    def to_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        rows = zip(self.group.traces, self.peaks, self.played, strict=True)
        return {
            "title": self.title,
            "rows": [
                {
                    "name": trace.name,
                    "goal": trace.goal,
                    "peak_live_bytes": peak,
                    "modules": [
                        {"module": name, **dataclasses.asdict(each)}
                        for name, each in zip(self.names, played, strict=True)
                    ],
                }
                for trace, peak, played in rows
            ],
        }


GROUPS = (
    Group(title="Filling memory (C-5)", text=FILLING, traces=FILLS, clause="C-5"),
    Group(title="Churn", text=CHURNING, traces=CHURN),
    Group(title="Memory over live bytes", text=MEMORY_TEXT, traces=MEMORY, is_memory=True),
)


def play_group(group: Group, modules: Sequence[NamedModule], watch: Callable[[], None]) -> PlayedGroup:
    """Play every trace of a group on every module; `watch` is called before each."""
    rows, peaks = [], []
    for trace in group.traces:
        peaks.append(trace.operations().peak)
        row = []
        for module in modules:
            watch()
            row.append(play_trace(module, trace))
        rows.append(tuple(row))
    names = tuple(module.name for module in modules)
    return PlayedGroup(group=group, names=names, played=tuple(rows), peaks=tuple(peaks))


def render_group(group: PlayedGroup) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header of a table and its rows."""
    show = _show_pages if group.group.is_memory else _show_instructions
    rows = []
    for number, trace in enumerate(group.group.traces):
        pairs = zip(group.played[number], group.figures(number), strict=True)
        rows.append((trace.name, f"{trace.goal:,}", *(show(*pair) for pair in pairs)))
    return ("trace", "goal", *group.names), rows


def render_arguments(group: PlayedGroup) -> list[str]:
    """Return a line for each goal that the first module misses."""
    return [f"{trace.name}: {trace.argument or 'missed'}." for trace in group.missed()]


def _show_instructions(played: Played, figure: float) -> str:
    if not played.units:
        return "-"
    return f"{figure:,.0f}+" if played.end is not None else f"{figure:,.0f} ({played.most:,.0f})"


def _show_pages(played: Played, figure: float) -> str:
    return "-" if played.end is not None else f"{played.pages:,} ({figure:.2f})"
