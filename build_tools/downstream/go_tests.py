"""The Go SDK's own tests, which its module carries, on the kernel it embeds and on the one given."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import ToolFailedError
from build_tools.base.process import end, start_child
from build_tools.base.progress import Progress
from build_tools.downstream.plugins import find_plugins

if TYPE_CHECKING:
    from collections.abc import Iterable

FILENAME = "extism-runtime.wasm"
LIMIT_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """The tests of one run by what came of them, subtests included."""

    __test__ = False

    passed: frozenset[str]
    failed: frozenset[str]


def run_tests(cache: Path, kernel: Path | None) -> TestRun:
    """Run the tests in a private copy of the module, with its kernel replaced if one is given.

    Raises ToolFailedError if they do not compile, ToolNotFoundError without `go`.
    """
    module = find_plugins(cache).parent
    with tempfile.TemporaryDirectory(prefix="extism-kernel-go-tests-") as folder:
        copy = Path(folder) / "go-sdk"
        shutil.copytree(module, copy, copy_function=shutil.copyfile)
        for each in (copy, *copy.rglob("*")):  # the module cache is read-only
            each.chmod(0o755 if each.is_dir() else 0o644)
        if kernel is not None:
            shutil.copyfile(kernel, copy / FILENAME)
        label = (
            f"running the Go SDK's own tests {'as shipped' if kernel is None else 'with the kernel given'}"
        )
        events = Path(folder) / "events"
        argv = ["go", "test", "-json", "-count=1", f"-timeout={LIMIT_SECONDS}s", "./..."]
        with Progress(label):
            _write_events(argv, copy, events)
        text = events.read_text(encoding="utf-8", errors="replace")
        found = read_events(text.splitlines())
        if not found.passed:
            raise ToolFailedError(" ".join(argv), 1, text)
        return found


def _write_events(argv: list[str], folder: Path, events: Path) -> None:
    """Run the tests; that one fails is an answer, and all that is printed is kept."""
    with events.open("wb") as out:
        child = start_child(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            child.wait(LIMIT_SECONDS + 300)
        finally:
            end(child)


def read_events(lines: Iterable[str]) -> TestRun:
    """Return what the lines of `go test -json` say; a line of another kind is passed over."""
    passed: set[str] = set()
    failed: set[str] = set()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("Test"):
            {"pass": passed, "fail": failed}.get(event.get("Action"), set()).add(event["Test"])
    return TestRun(passed=frozenset(passed), failed=frozenset(failed))
