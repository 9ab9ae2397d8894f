"""What is proved of each export and what is only tested, as kernel-src/PROOF.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.proof.claims import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFACE = """\
# What is proved, and what is only tested

Made by `python -m build_tools prove --markdown`, which executes the finished module symbolically and
asks a solver (z3) for values that break a claim. *Proved* is: for every argument, whatever memory
holds, and in each state that the invariant of the globals allows; and that invariant holds after each
of these exports again, also when they are cut. *Longest path* is counted off the code: no call, in no
state, runs more instructions, the bytes that it clears or copies aside (C-1).

`alloc`, `free`, `length`, `reset` and the setters of output and error follow links that lie in memory.
Of them only the bound is proved. That they leave memory of others alone, never trap and keep the
invariant is tested: by cutting each call at every change of state and making every sequence
of up to four calls after it (`tests/cuts.rs`), by random programs against a model
(`tests/shadow.rs`), and by the cases of the conformance suite. [COVERAGE.md](COVERAGE.md) lists the
tests of each clause.
"""


def render_page(longest: Mapping[str, int]) -> str:
    """Return the page: one row for each export, under its current name."""
    rows = [PREFACE, "| export | proved | clauses | longest path |", "| --- | --- | --- | ---: |"]
    for export in sorted(name for name in longest if not name.startswith("extism_")):
        claims = CLAIMS.get(export, ())
        proved = "; ".join(claim.name for claim in claims) or "ends"
        clauses = sorted({clause for claim in claims for clause in claim.clauses.split()} | {"C-1"})
        rows.append(f"| `{export}` | {proved} | {', '.join(clauses)} | {longest[export]} |")
    return "\n".join(rows) + "\n"
