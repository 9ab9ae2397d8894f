"""`--install`: what an adapter lacks is fetched once, into the cache, and later runs use it."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from extism_kernel_conformance.adapter import install
from extism_kernel_conformance.adapter.find import find_adapters, find_lacking, prepare_adapter, variables_of

from .conftest import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .conftest import Ran


@pytest.fixture
def adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an adapter that lacks a Python package and a header, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "adapters"
    folder.mkdir()
    wanted = [
        {
            "module": "no-such-package",
            "install": "pip install it",
            "fetch": {"pip": ["package==1"]},
        },
        {"path": "/no/such/header.h", "install": "apt-get install header", "fetch": {"deb": ["header"]}},
    ]
    command = ["{python}", str(HERE / "faulty_adapter.py"), "none"]
    entry = {"name": "lacking", "runtime": "toy", "requires": wanted, "command": command}
    (folder / "adapter.json").write_text(json.dumps(entry), encoding="utf-8")
    return folder


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fetching that leaves what an adapter would find, without a network; returns what was asked for."""
    asked: list[str] = []

    def pip(folder: Path, packages: Sequence[str]) -> None:
        asked.extend(packages)
        python = folder / "env" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        python.chmod(0o755)

    def deb(folder: Path, packages: Sequence[str]) -> None:
        asked.extend(packages)
        (folder / "root" / "usr" / "include").mkdir(parents=True)

    monkeypatch.setattr(install, "_INSTALL", {"pip": pip, "deb": deb})
    return asked


def test_what_is_lacking_is_a_skip_that_names_the_command(adapters: Path, fetched: list[str]) -> None:
    lacking = find_lacking(find_adapters([adapters])["lacking"])
    assert lacking is not None
    assert "pip install it" in lacking
    assert fetched == []


def test_install_fetches_once_and_says_what(
    adapters: Path, fetched: list[str], cli: Callable[..., Ran], tmp_path: Path
) -> None:
    argv = ["lint", "--adapter", "lacking", "--adapters", adapters]
    first = cli(*argv, "--install")
    assert first.code == 0, first.out + first.err
    assert fetched == ["package==1", "header"]
    assert "lacking: fetched package==1 (pip) into" in first.err
    assert "lacking: fetched header (deb) into" in first.err
    again = cli(*argv)
    assert again.code == 0, again.out
    assert fetched == ["package==1", "header"]
    adapter = find_adapters([adapters])["lacking"]
    assert prepare_adapter(adapter)[0].startswith(str(tmp_path / "cache"))
    assert str(tmp_path / "cache") in variables_of(adapter)["CPATH"]


def test_fetch_that_fails_is_the_adapters_and_leaves_nothing_done(
    adapters: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Ran]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(install, "_INSTALL", {**install._INSTALL, "pip": install._install_deb})
    ran = cli("lint", "--adapter", "lacking", "--adapters", adapters, "--install")
    assert ran.code == 1
    assert "apt-get -q download package==1` failed" in ran.out
    assert find_lacking(find_adapters([adapters])["lacking"]) is not None
