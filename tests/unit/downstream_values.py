"""Values of a comparison of SDKs that several tests start from."""

from __future__ import annotations

import dataclasses
from typing import Any

from build_tools.downstream.rows import Facts, Outcome
from build_tools.downstream.sdks import SDKS
from build_tools.downstream.suite import Judged

OURS, THEIRS = "a" * 64, "b" * 64
GO = next(sdk for sdk in SDKS if sdk.name == "go")
FACTS = Facts(
    date="2030-01-02",
    machine="m",
    command="c",
    kernel_file="k.wasm",
    sha256=OURS,
    size=3,
    version="9.9.9",
)


def judged(name: str, sha256: str, **verdicts: str) -> Judged:
    lines = {
        f"x/{case}": {"verdict": verdict, "got": "1\x00", "why": "w|y"} for case, verdict in verdicts.items()
    }
    return Judged(configuration=name, runtime="toy 1", sha256=sha256, lines=lines)


def outcome(**changes: Any) -> Outcome:  # noqa: ANN401 - the fields of an Outcome
    shipped = judged("sdk-go", THEIRS, a="pass", b="xfail", c="fail", d="skip", e="xpass")
    given = judged("sdk-go-given", OURS, a="pass", b="pass", c="xfail", d="skip", e="pass")
    return dataclasses.replace(Outcome(sdk=GO, shipped=shipped, given=given), **changes)
