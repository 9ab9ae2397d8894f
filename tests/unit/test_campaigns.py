"""`python -m build_tools campaign`: each is a program of this checkout, and an unknown one is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from build_tools.cli.campaigns import CAMPAIGNS

from .conftest import ROOT


def campaign(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "build_tools", "--no-bootstrap", "campaign", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_campaign_says_how_it_is_called(name: str) -> None:
    done = campaign(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m build_tools campaign {name}" in done.stdout


def test_campaign_without_a_name_lists_all() -> None:
    done = campaign()
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CAMPAIGNS)


def test_unknown_campaign_is_refused_with_the_known_ones() -> None:
    done = campaign("rehersal")
    assert done.returncode == 2
    assert "rehearsal" in done.stderr
    assert "Traceback" not in done.stderr
