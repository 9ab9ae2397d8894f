"""The Go SDK's own tests, which its module carries, on the kernel it embeds and on the one given.

They are compiled once for each kernel. Each test then runs in a process of its own with a limit, so that
the few that take minutes of CPU time on any kernel cost no more than it, and no other test its answer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.errors import ToolFailedError
from build_tools.base.process import end, run, start_child
from build_tools.base.progress import Progress
from build_tools.downstream.plugins import find_plugins

if TYPE_CHECKING:
    from collections.abc import Sequence

FILENAME = "extism-runtime.wasm"
LIMIT_SECONDS = 60
"""What one test may take."""
COMPILE_SECONDS = 600
_GRACE_SECONDS = 15
_RESULT = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(", re.MULTILINE)
_TIMED_OUT = "panic: test timed out"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """The tests of one run by what came of them, subtests included; `unfinished` ones reached the limit."""

    __test__ = False

    passed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()


def run_tests(cache: Path, kernel: Path | None) -> TestRun:
    """Run the tests in a private copy of the module, with its kernel replaced if one is given.

    Raises ToolFailedError if they do not compile or none passes, ToolNotFoundError without `go`.
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
        binary = Path(folder) / "tests"
        compile_them = ["go", "test", "-c", "-o", str(binary), "."]
        with Progress(label) as progress:
            run(compile_them, cwd=copy, timeout=COMPILE_SECONDS, watch=progress.update)
            names = run([binary, "-test.list", "."], cwd=copy).split()
            runs = [_run_one(binary, copy, name) for name in names if name.startswith("Test")]
        found = join(runs)
        if not found.passed:
            raise ToolFailedError(str(binary), 1, f"none of {len(names)} tests passed")
        return found


def _run_one(binary: Path, folder: Path, name: str) -> TestRun:
    """Run one test; that it fails, crashes or does not end is an answer."""
    argv = [str(binary), f"-test.run=^{name}$", "-test.v", f"-test.timeout={LIMIT_SECONDS}s"]
    with tempfile.TemporaryFile() as out:
        child = start_child(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            child.wait(LIMIT_SECONDS + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return TestRun(unfinished=frozenset({name}))
        finally:
            end(child)
        out.seek(0)
        return read_output(name, out.read().decode("utf-8", "replace"))


def read_output(name: str, text: str) -> TestRun:
    """Return what the output of one test says of it and its subtests; one that crashed has failed."""
    if _TIMED_OUT in text:
        return TestRun(unfinished=frozenset({name}))
    found: dict[str, set[str]] = {"PASS": set(), "FAIL": set(), "SKIP": set()}
    for verdict, each in _RESULT.findall(text):
        found[verdict].add(each)
    if not any(name in names for names in found.values()):
        found["FAIL"].add(name)
    return TestRun(passed=frozenset(found["PASS"]), failed=frozenset(found["FAIL"]))


def join(runs: Sequence[TestRun]) -> TestRun:
    """Return several runs as one."""
    return TestRun(
        passed=frozenset().union(*(each.passed for each in runs)),
        failed=frozenset().union(*(each.failed for each in runs)),
        unfinished=frozenset().union(*(each.unfinished for each in runs)),
    )
