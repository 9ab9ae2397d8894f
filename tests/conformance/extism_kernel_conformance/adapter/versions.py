"""Version ranges such as `>=1.2,<2`, over dotted numbers."""

from __future__ import annotations

import operator
import re

_RANGE_PART = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*")
_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def is_range(text: str) -> bool:
    """Return whether a text is a range this module understands."""
    return all(_RANGE_PART.fullmatch(part) for part in text.split(","))


def is_in_range(version: str, wanted: str) -> bool:
    """Return whether a version meets every part of a range; letters in the version are ignored.

    Raises ValueError if the range is malformed.
    """
    found = _numbers(version)
    for part in wanted.split(","):
        match = _RANGE_PART.fullmatch(part)
        if match is None:
            raise ValueError(f"`{part}` is no version range; write `>=1.2,<2`")
        limit = _numbers(match[2])
        width = max(len(found), len(limit))
        padded = [numbers + [0] * (width - len(numbers)) for numbers in (found, limit)]
        if not _COMPARE[match[1]](padded[0], padded[1]):
            return False
    return True


def _numbers(version: str) -> list[int]:
    match = re.search(r"\d+(\.\d+)*", version)
    return [int(each) for each in match[0].split(".")] if match else [0]
