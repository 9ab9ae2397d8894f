"""Mutants that no case can kill, listed by hand, each with its reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEYS = {"mutant", "change", "why"}


class EquivalentsError(ValueError):
    """The list is malformed; the text says where."""


@dataclass(frozen=True, slots=True)
class Equivalents:
    """Mutant keys to reasons. A key holds while the instructions around the change stay the same."""

    reasons: Mapping[str, str]

    def find(self, key: str) -> str | None:
        """Return why a mutant is equivalent, None if it is not listed."""
        return self.reasons.get(key)


def load_equivalents(path: Path) -> Equivalents:
    """Read the list. Raises EquivalentsError for an entry without a reason, or one that stands twice."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EquivalentsError(f"{path.name}: this is no list of equivalent mutants: {error}") from None
    reasons: dict[str, str] = {}
    for number, entry in enumerate(document["equivalent"]):
        where = f"{path.name}, equivalent[{number}]"
        if (
            not isinstance(entry, dict)
            or entry.keys() != _KEYS
            or not all(isinstance(v, str) and v for v in entry.values())
        ):
            raise EquivalentsError(f"{where}: an entry has `mutant`, `change` and `why`, each a sentence")
        if entry["mutant"] in reasons:
            raise EquivalentsError(f"{where}: `{entry['mutant']}` stands twice")
        reasons[entry["mutant"]] = entry["why"]
    return Equivalents(reasons)
