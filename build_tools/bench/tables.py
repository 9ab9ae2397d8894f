"""Costs as text, as the table of kernel-src/COSTS.md, and as JSON."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ContractError
from build_tools.bench.cycles import ALONE
from build_tools.bench.groups import render_arguments, render_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from build_tools.bench.costs import Cost, Costs
    from build_tools.bench.cycles import Cycle
    from build_tools.bench.groups import PlayedGroup
    from build_tools.bench.scenarios import Scenario

DIGEST_SHOWN = 16
KIBIBYTE = 1024
PREFACE = """\
# What the kernel costs

Made by `python -m build_tools bench --worst --traces --against upstream --allocators --markdown`. What else
can be compared, `python -m build_tools bench --help` says. *upstream* is the kernel in use before this one.

Figures are WebAssembly instructions per call, as wasmtime's fuel counts them: one for each instruction that
runs and one for entering a function; `block`, `loop`, `else`, `end`, `nop`, `drop`, `return` and
`unreachable` are free; each byte of a `memory.fill` or `memory.copy` counts one. They are the same on every
machine. A figure is the most expensive call of its row; where two are given, the mean and then that, and the
mean is what counts. *At most* is what the clause allows; the clauses stand in [CONTRACT.md](CONTRACT.md).
*Longest path* is the most that any call can cost in any state, read off the code, bulk bytes aside; a module
with loops has none. *Lines of Rust* are those of `src/`, comments and all, without `invariants.rs`, which
tests alone compile. The last rows of the calls are crowds of blocks that are freed in disorder; they
are for ours alone.

Of the 110 of `reset` 36 are bytes of one `memory.fill`. With stores it is 85, but the module then has 3,410
bytes (C-4) and a path of 703 (C-1)."""
CYCLES = """\
## The cycle of a host

`reset`, `alloc(n)`, then as many bytes written and read as the second column says, in pieces of up to 32 KiB,
again and again on one instance; the kernels take turns, and the medians are compared. Times depend on the
machine. C-3 asks for a ratio of 3. *Host alone* is the same with a module whose calls do nothing: the
host's own copying, which no kernel can save. *At best* is the ratio that a kernel without any cost would
reach."""


def is_over(scenario: Scenario, cost: Cost) -> bool:
    """Say whether a cost breaks its scenario's bound; one that could not be counted does."""
    figure = cost.mean if scenario.is_mean else cost.most
    return cost.failure is not None or figure > scenario.limit


def render_costs(
    scenarios: Sequence[Scenario],
    all_costs: Sequence[Costs],
    cycles: Sequence[Cycle],
    groups: Sequence[PlayedGroup] = (),
) -> str:
    """Return everything as text for a terminal."""
    lines = [f"{each.name}: {each.size:,} bytes, sha256 {each.sha256}" for each in all_costs]
    rows = [("instructions per call", "clause", "at most", *(each.name for each in all_costs))]
    rows += _cost_rows(scenarios, all_costs)
    lines += ["", *_align(rows)]
    for group in groups:
        header, played = render_group(group)
        lines += ["", group.title, *_align([header, *played]), *render_arguments(group)]
    if cycles:
        lines += ["", *_align([_cycle_header("reset, alloc(n)", all_costs), *_cycle_rows(cycles)])]
    failures = [
        f"{each.name}: {cost.failure}"
        for each in all_costs
        for cost in each.costs
        if cost.failure is not None
    ]
    return "\n".join([*lines, *(["", *failures] if failures else [])])


def render_markdown(
    scenarios: Sequence[Scenario],
    all_costs: Sequence[Costs],
    cycles: Sequence[Cycle],
    groups: Sequence[PlayedGroup] = (),
    *,
    lines_of_rust: int | None = None,
) -> str:
    """Return the text of COSTS.md; `lines_of_rust` are those of the first kernel, if known."""
    names = [each.name for each in all_costs]
    sizes = [_size_row(each.name, each.size, each.sha256) for each in all_costs]
    code = [
        (each.name, f"{each.loops:,}", _number(each.longest_path), _number(None if number else lines_of_rust))
        for number, each in enumerate(all_costs)
    ]
    parts = [
        PREFACE,
        "## Size (C-4)",
        _table(("kernel", "bytes", "sha256 begins"), sizes),
        "## Code (C-1)",
        _table(("kernel", "loops", "longest path", "lines of Rust"), code),
        "## Instructions per call",
        _table(("call", "clause", "at most", *names), _cost_rows(scenarios, all_costs)),
    ]
    for group in groups:
        arguments = "\n".join(f"- {line}" for line in render_arguments(group))
        parts += [f"## {group.title}", group.text, _table(*render_group(group)), *filter(None, (arguments,))]
    if cycles:
        parts += [CYCLES, _table(_cycle_header("n", all_costs), _cycle_rows(cycles))]
    return "\n\n".join(parts)


def replace_size(text: str, name: str, size: int, sha256: str) -> str:
    """Return the text of COSTS.md with another size, in bytes, and another digest of one kernel.

    For a kernel whose stamp alone has changed: its code, and so every figure, is the same. Raises
    ContractError if the text has no such row.
    """
    row = "| " + " | ".join(_size_row(name, size, sha256)) + " |"
    pattern = rf"^\| {re.escape(name)} \| [\d,]+ \| `[0-9a-f]{{{DIGEST_SHOWN}}}` \|$"
    changed, count = re.subn(pattern, row, text, count=1, flags=re.MULTILINE)
    if not count:
        hint = "python -m build_tools bench --worst --traces --against upstream --allocators --markdown"
        raise ContractError([f"there is no size of `{name}`"], where="kernel-src/COSTS.md", hint=hint)
    return changed


def costs_to_data(
    scenarios: Sequence[Scenario],
    all_costs: Sequence[Costs],
    cycles: Sequence[Cycle],
    groups: Sequence[PlayedGroup] = (),
) -> dict[str, Any]:
    """Return everything for JSON."""
    return {
        "scenarios": [
            {
                "name": each.name,
                "clause": each.clause,
                "limit": each.limit,
                "judged_by": "mean" if each.is_mean else "most",
            }
            for each in scenarios
        ],
        "kernels": [dataclasses.asdict(each) for each in all_costs],
        "cycles": [dataclasses.asdict(cycle) for cycle in cycles],
        "traces": [group.to_data() for group in groups],
    }


def _size_row(name: str, size: int, sha256: str) -> tuple[str, str, str]:
    return name, f"{size:,}", f"`{sha256[:DIGEST_SHOWN]}`"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _cost_rows(scenarios: Sequence[Scenario], all_costs: Sequence[Costs]) -> list[tuple[str, ...]]:
    return [
        (
            scenario.name,
            scenario.clause,
            f"{scenario.limit:,}",
            # Expensive states are counted on the first kernel alone.
            *(
                _figure(scenario, each.costs[number]) if number < len(each.costs) else "-"
                for each in all_costs
            ),
        )
        for number, scenario in enumerate(scenarios)
    ]


def _figure(scenario: Scenario, cost: Cost) -> str:
    if cost.failure is not None:
        return "fails"
    return f"{cost.mean:,.1f} ({cost.most:,})" if scenario.is_mean else f"{cost.most:,}"


def _cycle_header(first: str, all_costs: Sequence[Costs]) -> tuple[str, ...]:
    return (first, "written and read", *(each.name for each in all_costs), ALONE, "ratio", "at best")


def _cycle_rows(cycles: Sequence[Cycle]) -> list[tuple[str, ...]]:
    rows = []
    for length, used in dict.fromkeys((cycle.length, cycle.used) for cycle in cycles):
        medians = [cycle.median for cycle in cycles if (cycle.length, cycle.used) == (length, used)]
        *kernels, alone = medians
        # One kernel has nothing to be compared with.
        ratios = [f"{kernels[-1] / each:.1f}" if len(kernels) > 1 else "-" for each in (kernels[0], alone)]
        times = [f"{1e6 * median:,.1f} µs" for median in medians]
        rows.append((_length(length), _length(used), *times, *ratios))
    return rows


def _length(length: int) -> str:
    kibibytes = length // KIBIBYTE
    return f"{kibibytes} KiB" if kibibytes < KIBIBYTE else f"{kibibytes // KIBIBYTE} MiB"


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rule = ("---", *("---:" for _ in header[1:]))
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
