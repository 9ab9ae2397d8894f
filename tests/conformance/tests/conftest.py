"""A toy kernel, toy cases and a way to run the command line, for the tests of the suite itself."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime
from extism_kernel_conformance.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
SUITE = HERE.parent


@dataclass(frozen=True)
class Ran:
    """What one command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _adapters_find_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    find_the_suite(monkeypatch)


def find_the_suite(patch: pytest.MonkeyPatch) -> None:
    """Let adapters import the suite."""
    path = [str(SUITE), os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(path).rstrip(os.pathsep))


@pytest.fixture(scope="session")
def toy_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with the kernel's types and a few of its promises; it hangs where a test asks it to."""
    path = tmp_path_factory.mktemp("toy") / "toy.wasm"
    path.write_bytes(wasmtime.wat2wasm((HERE / "toy.wat").read_text(encoding="utf-8")))
    return path


def write_toy_cases(
    folder: Path, *cases: dict[str, object], removed: list[dict[str, object]] | None = None
) -> Path:
    """Write toy cases, each given as keys of a case over a default, and return the folder."""
    folder.mkdir(exist_ok=True)
    defaults = {"since": "1.0.0", "spec": ["A-1"], "level": "must", "title": "a promise"}
    document: dict[str, object] = {"cases": [{**defaults, **case} for case in cases]}
    if removed is not None:
        document["removed"] = removed
    (folder / "toy.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def write_cases(tmp_path: Path) -> Callable[..., Path]:
    """Write toy cases into the test's own folder."""

    def write(*cases: dict[str, object], removed: list[dict[str, object]] | None = None) -> Path:
        return write_toy_cases(tmp_path / "cases", *cases, removed=removed)

    return write


def run_main(*argv: str | Path) -> Ran:
    """Run the command line inside this process, for a fixture that many tests share."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        find_the_suite(patch)
        code = main([str(word) for word in argv])
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line inside this process."""

    def run(*argv: str | Path) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as end:  # argparse ends by itself
            code = int(str(end.code))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def toy_adapter(fault: str = "none") -> str:
    """Return the command line of the test adapter with one fault."""
    return shlex.join([sys.executable, str(HERE / "faulty_adapter.py"), fault])
