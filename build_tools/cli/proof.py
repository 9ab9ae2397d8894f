"""`python -m build_tools prove`: what holds of a finished kernel for every argument and state."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import ExitCode
from build_tools.base.findings import to_json
from build_tools.base.progress import Progress
from build_tools.base.project import find_project
from build_tools.kernel.values import FILENAMES
from build_tools.proof.page import render_page
from build_tools.proof.prove import Proof
from build_tools.proof.prove import prove as prove_module

if TYPE_CHECKING:
    import argparse


def prove(args: argparse.Namespace) -> int:
    """Prove the claims about a module; one that does not hold is a finding, with the values that break it."""
    path = args.file or find_project().package / FILENAMES["core"]
    data = files.read_bounded(path)
    with Progress(f"proving {path.name}"):
        proof = prove_module(data)
    if args.markdown and proof.is_complete:
        print(render_page(proof.longest), end="")
    elif args.json:
        print(to_json({"file": str(path), "complete": proof.is_complete, **dataclasses.asdict(proof)}))
    else:
        print(render_proof(proof))
    return ExitCode.DONE if proof.is_complete else ExitCode.FINDINGS


def render_proof(proof: Proof) -> str:
    """Return a line for each claim, then one for each export's longest path."""
    lines = []
    for each in proof.verdicts:
        state = "proved" if each.counterexample is None else "BROKEN"
        lines.append(f"{state}  {each.export:<15} {each.claim}  ({each.clauses}; {each.seconds:.1f} s)")
        if each.counterexample is not None:
            lines.append(f"        broken by {each.counterexample}")
    lines.append("")
    for name, length in sorted(proof.longest.items(), key=lambda entry: -entry[1]):
        if not name.startswith("extism_"):
            lines.append(f"{length:>6}  instructions on the longest path of {name}, bulk bytes aside")
    seconds = sum(each.seconds for each in proof.verdicts)
    broken = sum(each.counterexample is not None for each in proof.verdicts)
    lines.append(f"{len(proof.verdicts)} claims, {broken} broken, {seconds:.0f} s of CPU time")
    return "\n".join(lines)
