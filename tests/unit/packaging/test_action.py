"""The action that SDKs use: its script gives `extism-kernel verify` what its inputs say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ACTION = yaml.safe_load((ROOT / ".github" / "actions" / "verify" / "action.yml").read_text(encoding="utf-8"))
STEP = ACTION["runs"]["steps"][-1]
# A Python that makes an environment of itself and notes what else it is asked for.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit; fi
for word in "$@"; do printf "%s|" "$word" >> "$NOTES"; done
echo >> "$NOTES"
[ "$2" = pip ] || exit "$ANSWER"
"""
INPUTS = {
    "defaults": ({}, "--sarif|extism-kernel.sarif|--|.|"),
    "all": (
        {"paths": "src lib/a.wasm", "allow": "upstream stale", "sarif": "a b.sarif"},
        "--sarif|a b.sarif|--allow|upstream|--allow|stale|--|src|lib/a.wasm|",
    ),
    "no-expansion": ({"paths": "$(touch bad) -x"}, "--sarif|extism-kernel.sarif|--|$(touch|bad)|-x|"),
}


def run_step(tmp_path: Path, given: dict[str, str], answer: int = 0) -> tuple[int, list[str]]:
    """Run the script with inputs as the runner sets them; return its exit code and what Python was asked."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not on PATH (fix it with `apt-get install bash`)")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    inputs = {name: each["default"] for name, each in ACTION["inputs"].items()} | given
    expressions = {f"${{{{ inputs.{name} }}}}": value for name, value in inputs.items()}
    env = {name: expressions[value] for name, value in STEP["env"].items()}
    env |= {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "NOTES": str(tmp_path / "notes"),
        "ANSWER": str(answer),
    }
    argv = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", STEP["run"]]
    done = subprocess.run(argv, env=env, cwd=tmp_path, check=False, timeout=60)
    return done.returncode, (tmp_path / "notes").read_text().splitlines()


@pytest.mark.parametrize(("given", "want"), INPUTS.values(), ids=INPUTS)
def test_verify_gets_the_inputs(given: dict[str, str], want: str, tmp_path: Path) -> None:
    code, notes = run_step(tmp_path, given)
    assert code == 0
    assert notes == [
        "-m|pip|install|--quiet|--disable-pip-version-check|extism-kernel|",
        f"-m|extism_kernel_pkg|verify|{want}",
    ]
    assert not (tmp_path / "bad").exists()


def test_answer_that_is_not_allowed_fails_the_step(tmp_path: Path) -> None:
    assert run_step(tmp_path, {}, answer=13)[0] == 13
