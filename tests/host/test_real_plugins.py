"""Plug-ins built with the PDKs of several languages answer as on the Python SDK, byte for byte."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import I64, GuestError, HostFunction, Plugin, PluginError, host_function

from . import registries

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Server

Answer = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Real:
    """One plug-in and what is asked of it; `{server}`, `{folder}` stand for the test's own."""

    language: str
    modules: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]
    config: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    """Part of the first answer, so that two hosts cannot agree on nothing."""


def read_real() -> dict[str, Real]:
    """The plug-ins of plugins/real.json; the third member of a call says how often its input is repeated."""
    listed = json.loads((Path(__file__).parent / "plugins" / "real.json").read_text(encoding="utf-8"))
    found: dict[str, Real] = {}
    for name, each in listed.items():
        calls = tuple((call[0], call[1] * (call[2] if call[2:] else 1)) for call in each["calls"])
        found[name] = Real(**{**each, "calls": calls, "modules": tuple(each["modules"])})
    return found


REAL = read_real()


def mult(a: I64, b: I64) -> I64:
    return a * b


def to_upper(text: str) -> str:
    return text.upper()


def green(text: str) -> str:
    return "\U0001f7e2" + text


def purple(text: str) -> str:
    return "\U0001f7e3" + text


OURS: dict[str, Callable[..., Any]] = {
    "mult": mult,
    "to_upper": to_upper,
    "hostGreenMessage": green,
    "hostPurpleMessage": purple,
}


@functools.cache
def sdk() -> Path:
    return registries.python_sdk()


@functools.cache
def plugins() -> Path:
    return registries.go_sdk_plugins()


def module_path(name: str) -> Path:
    """Ready plug-ins lie in the Go SDK's module; a source of ours is compiled with its PDK."""
    if name.endswith(".ts"):
        return registries.assemblyscript_plugin(Path(__file__).parent / "plugins" / name)
    return plugins() / name


def run_ours(manifest: dict[str, Any], real: Real, calls: list[tuple[str, str]]) -> list[Answer]:
    functions: list[HostFunction] = [
        host_function(OURS[name], name=name, namespace=space) for name, space in real.functions.items()
    ]
    answers: list[Answer] = []
    with Plugin(manifest, functions=functions, config=real.config) as plugin:
        for name, data in calls:
            try:
                answers.append({"output": plugin.call(name, data).hex()})
            except GuestError as error:  # noqa: PERF203 - each call has its own error
                answers.append({"guest-error": error.message})
            except PluginError as error:
                answers.append({"error": error.message})
    return answers


def run_theirs(manifest: dict[str, Any], real: Real, calls: list[tuple[str, str]]) -> list[Answer]:
    job = {
        "manifest": manifest,
        "config": real.config,
        "functions": real.functions,
        "calls": [(name, data.encode().hex()) for name, data in calls],
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sdk_process.py"))],
        env={**os.environ, "PYTHONPATH": str(sdk())},
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Answer] = json.loads(done.stdout)
    return answers


def check_equal(ours: list[Answer], theirs: list[Answer]) -> None:
    """Outputs are equal byte for byte; an error is one on both sides, with the guest's own words."""
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        if "output" in our or "output" in their:
            assert our == their
        elif "guest-error" in our:
            assert our["guest-error"] in their["error"]


@pytest.mark.parametrize("name", REAL)
def test_real_plugin_answers_as_on_the_python_sdk(name: str, tmp_path: Path, server: Server) -> None:
    real = REAL[name]
    sdk()
    wasm = [{"path": str(module_path(module)), "name": Path(module).stem} for module in real.modules]
    del wasm[-1]["name"]

    def fill(text: str, folder: Path) -> str:
        return text.replace("{server}", server.url("")).replace("{folder}", str(folder))

    answers = []
    for number, run in enumerate((run_ours, run_theirs)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "test.txt").write_text("content\n")
        manifest = json.loads(fill(json.dumps({"wasm": wasm, **real.manifest}), folder))
        answers.append(run(manifest, real, [(call, fill(data, folder)) for call, data in real.calls]))
    ours, theirs = answers
    check_equal(ours, theirs)
    if real.output is not None:
        assert real.output in bytes.fromhex(ours[0]["output"]).decode()
