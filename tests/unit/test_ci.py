"""The script that judges a submission, with Pythons of our own."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeProgram = Callable[[str, str], Path]

OLD = "exit 1"
NEW = 'case "$1" in -c) exit 0;; esac; echo "$0 $@ in $PWD"; exit 7'


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    for name in ("bash", "dirname"):
        (folder / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or name)
    argv = [ROOT / ".ci" / "run"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")


def test_script_takes_the_first_python_that_is_new_enough(make_program: MakeProgram) -> None:
    make_program("python", OLD)
    python = make_program("python3", NEW)
    done = run(python.parent)
    assert done.stdout == f"{python} -m build_tools test in {ROOT}\n"
    assert done.returncode == 7, "its code is the script's"


def test_script_without_a_python_says_what_to_install(make_program: MakeProgram) -> None:
    done = run(make_program("python", OLD).parent)
    assert done.returncode == 3
    assert done.stderr.startswith("error[environment]: no Python 3.10 or newer")
    assert "apt-get install python3" in done.stderr


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def unpinned(text: str) -> list[str]:
    """Return the steps that use an action of others by a name that may come to mean something else."""
    lines = [line.strip().removeprefix("- ") for line in text.splitlines() if not line.startswith("#")]
    return [line for line in lines if line.startswith("uses:") and not PINNED.fullmatch(line)]


def test_actions_are_pinned_by_commit() -> None:
    assert WORKFLOWS
    assert {path.name: unpinned(path.read_text(encoding="utf-8")) for path in WORKFLOWS} == {
        path.name: [] for path in WORKFLOWS
    }


def test_pins_trip_on_a_tag() -> None:
    assert unpinned("    steps:\n      - uses: actions/checkout@v4\n") == ["uses: actions/checkout@v4"]
