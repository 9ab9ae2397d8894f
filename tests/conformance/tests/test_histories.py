"""The script that writes the long random histories."""

from __future__ import annotations

import sys
from pathlib import Path

SUITE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SUITE))

import histories  # noqa: E402 - the path comes first


def test_committed_histories_are_what_the_script_writes() -> None:
    assert histories.CASES.read_text(encoding="utf-8") == histories.render()


def test_histories_free_hold_and_reuse() -> None:
    for case in histories.make_cases():
        steps = case["steps"]
        assert isinstance(steps, list)
        calls = [step["call"] for step in steps if "call" in step]
        assert min(calls.count(name) for name in ("alloc", "free", "length", "error_set")) > 20
