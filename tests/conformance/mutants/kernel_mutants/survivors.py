"""A file of survivors for a person to judge, and its way into the list of equivalent mutants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .equivalents import EquivalentsError, load_equivalents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .campaign import Verdict
    from .score import FunctionScore

_NEIGHBOURS = 10
"""Instructions shown on each side; the changed one is marked with `>`."""


def write_judging(path: Path, scores: Sequence[FunctionScore]) -> None:
    """Write the survivors, each with its surroundings and a `why` to fill in."""
    entries = [_entry(verdict) for each in scores for verdict in each.survivors]
    _write(path, {"survivors": entries})


def read_keys(path: Path) -> list[str]:
    """Return the keys of the mutants in a file of survivors. Raises EquivalentsError for another file."""
    return [entry["mutant"] for entry in _read(path)]


def merge_reasons(path: Path, listed: Path) -> tuple[int, int]:
    """Copy the survivors that have a reason to the list. Return how many, and how many are left.

    Raises EquivalentsError if either file is malformed. A reason given anew replaces the one before.
    """
    survivors = _read(path)
    judged = {entry["mutant"]: entry for entry in survivors if entry["why"].strip()}
    load_equivalents(listed)
    before = json.loads(listed.read_text(encoding="utf-8"))["equivalent"]
    kept = [entry for entry in before if entry["mutant"] not in judged]
    added = [{"mutant": key, "change": entry["change"], "why": entry["why"]} for key, entry in judged.items()]
    _write(listed, {"equivalent": sorted(kept + added, key=lambda entry: entry["mutant"])})
    return len(judged), len(survivors) - len(judged)


def _entry(verdict: Verdict) -> Mapping[str, object]:
    mutant = verdict.mutant
    first = max(0, mutant.place - _NEIGHBOURS)
    around = mutant.function.instructions[first : mutant.place + _NEIGHBOURS + 1]
    return {
        "mutant": mutant.key,
        "change": f"{mutant.before} -> {mutant.after}",
        "why": "",
        "function": mutant.function.name,
        "at": f"{mutant.offset:#x}",
        "code": [("> " if first + n == mutant.place else "  ") + each.text for n, each in enumerate(around)],
    }


def _read(path: Path) -> list[Any]:
    try:
        entries: list[Any] = json.loads(path.read_text(encoding="utf-8"))["survivors"]
        texts = [entry[key] for entry in entries for key in ("mutant", "change", "why")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EquivalentsError(f"{path.name}: this is no file of --survivors: {error!r}") from None
    if not all(isinstance(text, str) for text in texts):
        raise EquivalentsError(f"{path.name}: `mutant`, `change` and `why` are texts")
    return entries


def _write(path: Path, document: Mapping[str, object]) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
