"""Writes RESULTS.md, what the host costs and stands: `python -m build_tools campaign host-results`.

It takes half an hour, or as long as the parts need that are named; the other parts stay as they are.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from . import attacks, bench, panics, registries, soak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PAGE: Final = Path(__file__).with_name("RESULTS.md")
COMMAND: Final = "python -m build_tools campaign host-results"
TITLE: Final = f"""# What the reference host costs, and what it stands

Made by `{COMMAND}`; names of parts make only these anew. A test
compares what there is to measure with what stands here. The figures are of the machine that each
part names.
"""


def cost() -> Iterator[str]:
    """Beside the official SDK, in one process and by turns."""
    yield paragraph(
        f"""CPU time beside PyPI's `{registries.PYTHON_SDK[0]}`, both hosts in one process and by turns, with
        a time limit and `max_pages`; of each the least of the rounds. The goal is for the quotient, or for
        ours where there is none. A plug-in is made, called once and closed. `campaign host-bench` measures
        this alone."""
    )
    yield from table(
        ("", "ours", "the SDK's", "quotient", "goal", ""),
        (row.cells() for row in bench.measure_all(bench.LIMITS)),
    )


def endurance() -> Iterator[str]:
    """Memory and threads after much use."""
    yield paragraph(
        f"""Each in one process, with the right next call after each. Memory and threads are what came after
        the first tenth; up to {soak.MAX_GROWTH >> 20} MiB is what allocators keep. `campaign host-soak` does
        this alone."""
    )
    yield from table(
        ("", "times", "seconds", "memory", "threads", ""),
        (course.cells() for course in soak.courses(argparse.Namespace(**soak.COUNTS))),
    )


def hostile() -> Iterator[str]:
    """What attacks get here and there."""
    yield paragraph(
        f"""Each in a process of its own, with the CPU time of the call and the memory that it added; what
        runs for more than {attacks.SECONDS} s is ended. They stand in `tests/host/attacks.py`.
        `campaign host-attacks` does this alone."""
    )
    yield "```text"
    for name in attacks.NAMES:
        yield from attacks.report(name)
    yield "```"


def panic() -> Iterator[str]:
    """What the author of a plug-in sees."""
    yield paragraph(
        """`PluginError.render()` of plug-ins that fail, whose sources are in `tests/host/panics`. Lines of
        source are known where the module carries DWARF."""
    )
    for language, build in panics.LANGUAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            shown = build(Path(folder)).render()
        yield from (f"### {language}", "", "```text", *shorten(shown.splitlines()), "```", "")


def paragraph(text: str) -> str:
    """Return a paragraph of Markdown with an empty line after it."""
    return textwrap.fill(" ".join(text.split()), width=100, break_on_hyphens=False) + "\n"


def shorten(lines: Iterable[str]) -> Iterator[str]:
    """Leave out the frames of a language's standard library, which are not the plug-in's own."""
    left_out = 0
    for line in lines:
        if " at /rustc/" in line:
            left_out += 1
            continue
        if left_out:
            yield f"  ({left_out} frames of the standard library)"
            left_out = 0
        yield line.rstrip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown; all but the first column are figures."""
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "--:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


PARTS: Final[Mapping[str, tuple[str, Callable[[], Iterator[str]]]]] = {
    "cost": ("Cost", cost),
    "endurance": ("Long use", endurance),
    "attacks": ("Hostile plug-ins", hostile),
    "panics": ("Panics", panic),
}


def read_parts(page: str) -> dict[str, str]:
    """Return the parts of a page by their titles."""
    parts = (part.partition("\n") for part in page.split("\n## ")[1:])
    return {title: text.strip() for title, _, text in parts}


def describe_machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"wasmtime {version('wasmtime')}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Make the parts that are named, or all, and write the page."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    names = parser.parse_args(arguments).parts or list(PARTS)
    unknown = sorted(set(names) - PARTS.keys())
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}")
    for name in dict.fromkeys(names):
        title, make = PARTS[name]
        try:
            text = "\n".join(make()).strip()
        except pytest.skip.Exception as skipped:
            print(f"{name} cannot be made here: {skipped}", file=sys.stderr)
            return 1
        old = read_parts(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
        parts = {**old, title: f"On {describe_machine()}.\n\n{text}"}
        body = [f"## {each}\n\n{parts[each]}\n" for each, _ in PARTS.values() if each in parts]
        PAGE.write_text("\n".join([TITLE, *body]), encoding="utf-8")
        print(f"{PAGE.name}: {title}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
