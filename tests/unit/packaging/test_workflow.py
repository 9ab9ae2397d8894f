"""The release workflow calls our commands, so that there is one list of them."""

from __future__ import annotations

import re
from pathlib import Path

from build_tools.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text()
RUNS = re.findall(r"^ *- run: (.+)$", WORKFLOW, re.MULTILINE)
TOOLCHAIN = "rustup show active-toolchain || rustup toolchain install"


def test_release_runs_nothing_but_our_commands() -> None:
    assert len(RUNS) == WORKFLOW.count("run: ")
    assert [
        line for line in RUNS if not line.startswith("python -m build_tools ") and line != TOOLCHAIN
    ] == []


def test_commands_of_the_release_exist_with_their_options() -> None:
    for line in RUNS:
        if line != TOOLCHAIN:
            words = line.replace('"$INDEX"', "https://a/").replace('"$SIMPLE"', "https://b/").split()
            make_parser().parse_args(words[3:])


def test_release_publishes_what_was_built_once() -> None:
    assert sum("build_tools wheel" in line for line in RUNS) == 1
    assert sum("build_tools publish" in line for line in RUNS) == 1
    assert "secrets." not in WORKFLOW
