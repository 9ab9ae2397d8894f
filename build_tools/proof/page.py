"""What is proved of each export and what is only tested, as kernel-src/PROOF.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.proof.claims import CLAIMS
from build_tools.proof.links import LINKED

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = {**CLAIMS, **LINKED, "length_unsafe": LINKED["length"]}
"""The claims of each export; `length_unsafe` is the same function as `length`."""
PREFACE = """\
# What is proved, and what is only tested

Made by `python -m build_tools prove --markdown`, which executes the finished module symbolically and
asks a solver (z3) for values that break a claim. *Proved* is: for every argument, whatever memory
holds, and in each state that the invariant of the globals allows; and that invariant holds after each
of these exports again, also when they are cut. *Longest path* is counted off the code: no call, in no
state, runs more instructions, the bytes that it clears or copies aside (C-1).

`length` and `reset` are proved over the table: what a load finds there is what was stored, or what
the table held before the call. Of that is assumed, where the global `ready` is not 0, that records,
rings and bins are sound (`build_tools/proof/rows.py`): places rise along the row, links lead to
records or bins, a free range is in the ring of its size. `reset` is proved to make such a table
from any state, and every export but the four named below to leave it so. While
`ready` is 0 nothing is assumed of the table.

Tested, not proved, is the same of `alloc`, `free`, `output_set` and `error_set`: of them only the
bound is proved. So the proof of `length` rests on tests wherever one of these four came before.
The tests cut each call at every change of state and make every sequence of up to four calls
after it (`tests/cuts.rs`), run random programs against a model (`tests/shadow.rs`), and are the
cases of the conformance suite. [COVERAGE.md](COVERAGE.md) lists the tests of each clause.
"""


def render_page(longest: Mapping[str, int]) -> str:
    """Return the page: one row for each export, under its current name."""
    rows = [PREFACE, "| export | proved | clauses | longest path |", "| --- | --- | --- | ---: |"]
    for export in sorted(name for name in longest if not name.startswith("extism_")):
        claims = ALL.get(export, ())
        proved = "; ".join(claim.name for claim in claims) or "ends"
        clauses = sorted({clause for claim in claims for clause in claim.clauses.split()} | {"C-1"})
        rows.append(f"| `{export}` | {proved} | {', '.join(clauses)} | {longest[export]} |")
    return "\n".join(rows) + "\n"
