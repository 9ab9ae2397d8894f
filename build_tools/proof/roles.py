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


def find_roles(program: Program) -> dict[str, int]:
    """Return the numbers of the registers' globals, of `head`, `span` and `whole`.

    A getter reads one global; `load_u8` compares with `span` and reads `head`, `load_u64` with `whole`.
    Raises `ModuleMalformedError` for a module whose exports read others.
    """
    roles = {role: _only(program, export, set()) for export, role in GETTERS.items()}
    roles["span"] = _only(program, "load_u8", {roles["head"]})
    roles["whole"] = _only(program, "load_u64", {roles["head"]})
    return roles


def _only(program: Program, export: str, known: set[int]) -> int:
    index = program.exports.get(export)
    read = set() if index is None else set(_read(program.functions[index].body)) - known
    if len(read) != 1:
        raise ModuleMalformedError(
            f"`{export}` reads {len(read)} globals where one is expected",
            where=f"export `{export}`",
            hint="the proof is written for this kernel's registers; see build_tools/proof/roles.py",
        )
    return read.pop()


def _read(code: Iterable[Instruction]) -> Iterator[int]:
    for each in code:
        if each.name == "global.get":
            yield each.immediates[0]
        yield from _read((*each.body, *each.orelse))
