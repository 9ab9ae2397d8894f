"""The closing table of `test`, and what it says of skips."""

from __future__ import annotations

import pytest

from build_tools.checks.outcomes import (
    Outcome,
    Skipped,
    find_fix,
    render_failures,
    render_skips,
    render_summary,
    render_table,
)

OUTCOMES = [
    Outcome(name="mypy", passed=1, seconds=12.0, cpu=11.0),
    Outcome(name="cargo clippy", skips=(Skipped(name="cargo clippy", reason="no `cargo`", fix="get it"),)),
    Outcome(
        name="pytest tests/unit",
        passed=1200,
        failures=("tests/unit/a.py::b",),
        skips=tuple(
            Skipped(name=f"tests/unit/a.py::c[{number}]", reason="no `java`", fix="`apt-get install java`")
            for number in range(3)
        ),
        seconds=100.0,
        cpu=90.5,
    ),
]


def test_table_has_a_line_for_each_step_and_their_sum() -> None:
    assert render_table(OUTCOMES).splitlines() == [
        "step               passed  failed  skipped     time      CPU",
        "mypy                    1       0        0   12.0 s   11.0 s",
        "cargo clippy            0       0        1    0.0 s    0.0 s",
        "pytest tests/unit    1200       1        3  100.0 s   90.5 s",
        "all                  1201       1        4  112.0 s  101.5 s",
    ]


def test_last_line_is_plain() -> None:
    assert render_summary(OUTCOMES) == "1201 passed, 1 failed, 4 skipped"


def test_skips_of_one_reason_are_one_group_with_its_fix() -> None:
    assert render_skips(OUTCOMES) == (
        "SKIPPED 1: no `cargo`\n  unchecked: cargo clippy\n  fix: get it\n"
        "SKIPPED 3: no `java`\n  unchecked: tests/unit/a.py::c\n  fix: `apt-get install java`"
    )


def test_long_groups_are_cut() -> None:
    many = Outcome(
        name="x",
        failures=tuple(f"f{number}" for number in range(43)),
        skips=tuple(Skipped(name=f"s{number}", reason="r", fix="f") for number in range(9)),
    )
    assert render_failures([many]).endswith("FAILED  f39\nFAILED  and 3 more")
    assert "unchecked: s0, s1, s2, s3, s4, s5 and 3 more\n" in render_skips([many])


REASONS = {
    "command-in-the-text": ("no `java` here (fix: `apt-get install java`)", "`apt-get install java`"),
    "last-of-two": ("`go mod download` failed; run `go env -w X=Y`", "`go env -w X=Y`"),
    "no-command": (
        "root may write everywhere; run the tests as another user",
        "run the tests as another user",
    ),
    "nothing": ("the system has no fork", "see the reason"),
}


@pytest.mark.parametrize(("reason", "fix"), REASONS.values(), ids=REASONS)
def test_fix_is_taken_from_the_reason(reason: str, fix: str) -> None:
    assert find_fix(reason) == fix
