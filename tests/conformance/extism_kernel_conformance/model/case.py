"""Writes a program that shows a fault as a case of the suite."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.resources import suite_info

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extism_kernel_conformance.model.operations import Step
    from extism_kernel_conformance.model.play import Broken

TOPIC = "invented"
_NAME = re.compile(r"\$b(\d+)")


def make_case(broken: Broken) -> dict[str, object]:
    """Return the case as it stands in a case file; a person gives it a better title and a reason."""
    steps = [operation.step() for operation in broken.program]
    if broken.error.expect is not None:
        steps[-1]["expect"] = broken.error.expect
    steps = _rename([*steps, *broken.error.steps])
    digest = hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9]+", "-", broken.error.kind.lower()).strip("-")
    return {
        "id": f"{TOPIC}/{words}-{digest}",
        "since": suite_info().version,
        "spec": [broken.error.clause],
        "level": "must",
        "title": f"{broken.error.clause} holds after these operations",
        "why": f"a kernel was seen to break it: {broken.error.kind}",
        "kernel": {"max_pages": broken.pages},
        "steps": steps,
    }


def write_cases(cases: list[dict[str, object]]) -> str:
    """Return a case file, one step on each line."""
    lines = ['{\n  "cases": [']
    for number, case in enumerate(cases):
        head = json.dumps({key: value for key, value in case.items() if key != "steps"}, ensure_ascii=False)
        steps = case["steps"]
        assert isinstance(steps, list)
        body = ",\n      ".join(json.dumps(step, ensure_ascii=False) for step in steps)
        comma = "," if number + 1 < len(cases) else ""
        lines.append(f'    {head[:-1]},\n     "steps": [\n      {body}\n     ]}}{comma}')
    return "\n".join((*lines, "  ]\n}\n"))


def _rename(steps: list[Step]) -> list[Step]:
    """Count the blocks that are named from 1, and name no others."""
    used = {name for step in steps for name in _NAME.findall(json.dumps(step))}
    numbers: dict[str, int] = {}
    for step in steps:
        label = str(step.get("bind", ""))[1:]
        if label in used:
            numbers[label] = len(numbers) + 1
    return [_renamed(step, numbers) for step in steps]


def _renamed(step: Step, numbers: Mapping[str, int]) -> Step:
    renamed = json.loads(json.dumps(step))
    label = str(renamed.pop("bind", ""))[1:]
    text = json.dumps(renamed)
    text = _NAME.sub(lambda match: f"$b{numbers.get(match[1], match[1])}", text)
    again: Step = json.loads(text)
    if label in numbers:
        expect = again.pop("expect", None)
        again["bind"] = f"b{numbers[label]}"
        if expect is not None:
            again["expect"] = expect
    return again
