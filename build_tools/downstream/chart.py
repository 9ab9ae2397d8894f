"""The comparison as one SVG for README.md, readable on a light and on a dark page."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from build_tools.downstream.rows import Facts, Outcome, measured
from build_tools.downstream.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LEFT, RIGHT, ROW = 760, 170, 90, 18
LEAST, MOST = 0.01, 4.0
"""The ends of the logarithmic axis of ratios."""
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e; font-size: 12px }
.title { font-weight: 600; font-size: 15px } .axis { stroke: #8b949e; stroke-width: 1 }
.shipped { fill: #9a6700 } .given { fill: #0969da } .spread { stroke: #59636e; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .quiet { fill: #9198a1 } .axis { stroke: #6e7681 }
.shipped { fill: #d29922 } .given { fill: #4493f8 } .spread { stroke: #9198a1 } }"""


def render_svg(facts: Facts, outcomes: Sequence[Outcome]) -> str:
    """Return the chart: failures of the sdk profile with either kernel, then ratios of CPU time."""
    both = [outcome for outcome in outcomes if outcome.shipped and outcome.given and outcome.given.lines]
    timed = [outcome for outcome in outcomes if measured(outcome)]
    parts: list[str] = []
    y = 24
    if both:
        y = _failures(parts, both, y) + 24
    if timed:
        y = _ratios(parts, timed, y) + 8
    parts.append(
        _text(0, y + 12, f"{facts.date}, kernel {facts.version}, sha256 {facts.sha256[:16]}", "quiet")
    )
    label = "Failing cases and CPU time of real SDKs, as shipped and with this kernel"
    box = f'viewBox="0 0 {WIDTH} {y + 20}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{label}">'
    return "\n".join([head, f"<title>{label}</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _failures(parts: list[str], outcomes: Sequence[Outcome], y: int) -> int:
    parts.append(_text(0, y, "Cases of the sdk profile that fail", "title"))
    most = (
        max(len(judged.failed) for each in outcomes for judged in (each.shipped, each.given) if judged) or 1
    )
    y += 12
    for outcome in outcomes:
        for word, judged, kind in (
            ("as shipped", outcome.shipped, "shipped"),
            ("this kernel", outcome.given, "given"),
        ):
            count = len(judged.failed) if judged else 0
            width = round((WIDTH - LEFT - RIGHT) * count / most)
            parts.append(_text(0, y + 13, f"{outcome.sdk.name}, {word}"))
            parts.append(
                f'<rect class="{kind}" x="{LEFT}" y="{y + 2}" width="{max(width, 1)}" height="{ROW - 5}"/>'
            )
            parts.append(_text(LEFT + max(width, 1) + 6, y + 13, str(count)))
            y += ROW
        y += 6
    return y


def _ratios(parts: list[str], outcomes: Sequence[Outcome], y: int) -> int:
    parts.append(_text(0, y, "CPU time, this kernel over as shipped (left of 1 is less)", "title"))
    y += 10
    top = y
    for workload in WORKLOADS:
        for outcome in outcomes:
            for ratio in measured(outcome):
                if ratio.workload == workload.name:
                    parts.append(_text(0, y + 13, f"{outcome.sdk.name}: {workload.name}"))
                    ends = f'x1="{_x(ratio.low)}" x2="{_x(ratio.high)}" y1="{y + 9}" y2="{y + 9}"'
                    parts.append(f'<line class="spread" {ends}/>')
                    parts.append(f'<circle class="given" cx="{_x(ratio.median)}" cy="{y + 9}" r="4.5"/>')
                    parts.append(_text(WIDTH - RIGHT + 12, y + 13, f"{ratio.median:.2f}"))
                    y += ROW
        y += 4
    for tick in (0.01, 0.1, 0.5, 1, 2, 4):
        dash = "" if tick == 1 else ' stroke-dasharray="2 4"'
        parts.append(f'<line class="axis" x1="{_x(tick)}" x2="{_x(tick)}" y1="{top}" y2="{y}"{dash}/>')
        parts.append(_text(_x(tick) - 8, y + 14, f"{tick:g}", "quiet"))
    return y + 20


def _x(ratio: float) -> float:
    """Return where a ratio lies on the logarithmic axis."""
    start = LEFT + 50
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return round(start + (WIDTH - RIGHT - start) * share, 1)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x}" y="{y}">{escape(text)}</text>'
