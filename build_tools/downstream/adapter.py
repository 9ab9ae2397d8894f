"""One adapter of the suite as a process: a question in one line, the answer in the next."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Protocol

from build_tools.base.errors import BuildToolsError, ExitCode
from build_tools.base.process import end, start_child
from build_tools.downstream.suite import suite_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Answer = dict[str, Any]
ANSWER_SECONDS = 600.0
NO_MANIFEST: dict[str, Any] = {}


class AdapterFailedError(BuildToolsError):
    """An adapter ended, or answered what the protocol does not know."""

    code = "adapter-failed"
    exit_code = ExitCode.TOOL_FAILED


class Asks(Protocol):
    """What measurements and comparisons need of an adapter."""

    def ask(self, op: str, **fields: object) -> Answer:
        """Return the answer to one operation of the sdk profile."""


class Adapter:
    """A running adapter. Not for use from two threads."""

    def __init__(self, name: str, child: subprocess.Popen[str]) -> None:
        self.name = name
        self._child = child
        self._count = 0

    def ask(self, op: str, **fields: object) -> Answer:
        """Return the answer to one operation.

        Raises AdapterFailedError if the adapter ends, is silent for ten minutes, or answers `error`.
        """
        self._count += 1
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None  # noqa: S101 - it was opened with pipes
        assert stdout is not None  # noqa: S101
        timer = threading.Timer(ANSWER_SECONDS, end, [self._child])
        timer.start()
        try:
            stdin.write(json.dumps({"id": self._count, "op": op, **fields}) + "\n")
            stdin.flush()
            line = stdout.readline()
            answer: Answer = json.loads(line)
        except (OSError, ValueError):
            code = self._child.poll()
            message = f"it ended with code {code}" if code is not None else "it gave no answer"
            raise AdapterFailedError(f"{message} on `{op}`", where=self.name) from None
        finally:
            timer.cancel()
        if answer.get("id") != self._count or answer.get("result") == "error":
            raise AdapterFailedError(f"`{op}` was answered {line.strip()[:200]}", where=self.name)
        return answer

    def load(self, plugin: str, modules: Sequence[tuple[str, bytes]], manifest: object = None) -> Answer:
        """Make a plug-in of modules, each a name and its bytes; the last one is the main one."""
        return self.ask("load", **load_fields(plugin, modules, manifest))


def load_fields(plugin: str, modules: Sequence[tuple[str, bytes]], manifest: object = None) -> Answer:
    """Return the members of the operation `load`."""
    listed = [{"name": name, "bytes": data.hex()} for name, data in modules]
    fields: Answer = {"plugin": plugin, "modules": listed, "manifest": manifest or NO_MANIFEST}
    return {**fields, "log_level": "off", "http_response_headers": False, "kernel": ""}


@contextlib.contextmanager
def start(root: Path, name: str, kernel: Path) -> Iterator[Adapter]:
    """Start a configuration of the suite, built if need be, and end it with the body."""
    argv, env = suite_command(root, "start", name, str(kernel))
    child = start_child(
        argv,
        cwd=root,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        adapter = Adapter(name, child)
        adapter.ask("hello", protocol=1)
        yield adapter
    finally:
        with contextlib.suppress(OSError):
            end(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not yet sent
                    pipe.close()
