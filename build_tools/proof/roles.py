"""Which global is which: read off the exports, so that no number is written down anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.errors import ModuleMalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from build_tools.proof.code import Instruction, Program

GETTERS = {
    "input_offset": "input_offset",
    "input_length": "input_length",
    "output_offset": "output_offset",
    "output_length": "output_length",
    "error_get": "error",
    "memory_bytes": "head",
}
SET_BY_RESET = (
    *("ready", "dirty", "hole_end", "used", "whole", "span", "input_length", "input_offset"),
    *("output_length", "output_offset", "error", "output_freed", "error_freed", "spare", "table"),
)
"""The globals that `reset` sets, in the order in which it sets them first."""


def find_roles(program: Program) -> dict[str, int]:
    """Return the numbers of all globals.

    A getter reads one global; `load_u8` compares with `span` and reads `head`, `load_u64` with `whole`.
    `reset` sets nearly all, in a known order, and `hole_end` to `hole_next`; the one left is `hole_start`.
    Raises `ModuleMalformedError` for a module whose exports access others.
    """
    known = {role: _only(program, export, set()) for export, role in GETTERS.items()}
    known["span"] = _only(program, "load_u8", {known["head"]})
    known["whole"] = _only(program, "load_u64", {known["head"]})
    steps = list(_steps(program, program.exports["reset"]))
    written = list(dict.fromkeys(number for name, number in steps if name == "global.set"))
    if len(written) != len(SET_BY_RESET):
        raise _others("reset", f"sets {len(written)} globals where {len(SET_BY_RESET)} are expected")
    roles = known | dict(zip(SET_BY_RESET, written, strict=True))
    if any(roles[name] != number for name, number in known.items()):
        raise _others("reset", "sets the registers in another order than is expected")
    at = steps.index(("global.set", roles["hole_end"]))
    roles["hole_next"] = steps[at - 1][1]
    rest = set(range(len(program.globals))) - set(roles.values())
    if len(rest) != 1:
        raise _others("reset", f"leaves {len(rest)} globals alone where one is expected")
    return roles | {"hole_start": rest.pop()}


def _steps(program: Program, index: int) -> Iterator[tuple[str, int]]:
    """Yield the accesses to globals of a function and of those that it calls, in the order of the code."""
    for each in _walk(program.functions[index].body):
        if each.name.startswith("global."):
            yield each.name, each.immediates[0]
        elif each.name == "call":
            yield from _steps(program, each.immediates[0])


def _only(program: Program, export: str, known: set[int]) -> int:
    index = program.exports.get(export)
    body = () if index is None else program.functions[index].body
    read = {each.immediates[0] for each in _walk(body) if each.name == "global.get"} - known
    if len(read) != 1:
        raise _others(export, f"reads {len(read)} globals where one is expected")
    return read.pop()


def _others(export: str, what: str) -> ModuleMalformedError:
    return ModuleMalformedError(
        f"`{export}` {what}",
        where=f"export `{export}`",
        hint="the proof is written for this kernel's globals; see build_tools/proof/roles.py",
    )


def _walk(code: Iterable[Instruction]) -> Iterator[Instruction]:
    for each in code:
        yield each
        yield from _walk((*each.body, *each.orelse))
