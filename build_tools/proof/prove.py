"""All claims about one module, and the bound of each export."""

from __future__ import annotations

from dataclasses import dataclass

from build_tools.proof.claims import CLAIMS, Verdict, check_claims
from build_tools.proof.code import read_program
from build_tools.proof.links import LINKED
from build_tools.proof.paths import count_longest
from build_tools.proof.runs import execute, execute_linked


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proved of a module. `longest` has the instructions of each export's longest path."""

    verdicts: tuple[Verdict, ...]
    longest: dict[str, int]

    @property
    def is_complete(self) -> bool:
        """Whether every claim holds."""
        return all(verdict.counterexample is None for verdict in self.verdicts)


def prove(data: bytes) -> Proof:
    """Prove all claims about a finished module.

    Raises `ModuleMalformedError` for a module that lacks an export or has code that is not modelled.
    """
    program = read_program(data)
    longest = count_longest(program)
    verdicts: list[Verdict] = []
    for export, claims in CLAIMS.items():
        verdicts += check_claims(execute(program, export), claims)
    for export, claims in LINKED.items():
        verdicts += check_claims(execute_linked(program, export), claims)
    return Proof(verdicts=tuple(verdicts), longest=longest)
