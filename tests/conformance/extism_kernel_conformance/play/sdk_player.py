"""Plays a case of the sdk profile: an adapter is an SDK, a plug-in is a module of the suite."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.cases import sdk_steps
from extism_kernel_conformance.cases import steps as s
from extism_kernel_conformance.play.sdk_folder import make_folder
from extism_kernel_conformance.play.sdk_server import SdkServer, run_server

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.cases.load import Case
    from extism_kernel_conformance.wasm.module import Kernel

GUEST = "guest: "
"""What our plug-ins begin their messages with: an SDK may log its own beside them."""

_SHOWN = 160


def play_sdk_case(case: Case, connection: Connection, kernel: Kernel) -> None:
    """Play a case of the sdk profile. Raises CaseFailed or AdapterFault."""
    with run_server() as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        player = _Player(connection, kernel, server, make_folder(Path(folder)))
        try:
            player.run(case.setup)
            player.run(case.steps)
        finally:
            if connection.is_idle:  # else the adapter is at fault and will be ended
                player.unload_all()


class _Player:
    def __init__(self, connection: Connection, kernel: Kernel, server: SdkServer, folder: Path) -> None:
        self._connection = connection
        self._kernel = kernel
        self._server = server
        self._folder = folder
        self._loaded: set[str] = set()
        self._refused: dict[str, str] = {}
        """The message of each plug-in that might be refused and was."""
        self._logs: list[tuple[str, str]] = []

    def run(self, steps: tuple[s.Step, ...]) -> None:
        for step in steps:
            match step:
                case sdk_steps.Load():
                    self._load(step)
                case sdk_steps.Invoke():
                    self._invoke(step)
                case sdk_steps.Together():
                    self._together(step)
                case sdk_steps.Logs() | sdk_steps.Requests():
                    self._look(step)
                case s.Repeat():
                    for _ in range(step.times.evaluate(_no_variable)):
                        self.run(step.steps)
                case _:
                    raise TypeError(f"no such step: {step!r}")

    def unload_all(self) -> None:
        for name in sorted(self._loaded):
            self._connection.ask("unload", plugin=name)
        self._loaded.clear()

    def _look(self, step: sdk_steps.Logs | sdk_steps.Requests) -> None:
        if isinstance(step, sdk_steps.Requests):
            if self._server.count != step.count:
                raise _failed(step, f"{step.count} requests", f"{self._server.count}")
        elif tuple(self._logs) != step.entries:
            raise _failed(step, f"the logs {list(step.entries)}", f"{self._logs}")

    def _load(self, step: sdk_steps.Load) -> None:
        if step.plugin in self._loaded:
            self._connection.ask("unload", plugin=step.plugin)
            self._loaded.discard(step.plugin)
        self._refused.pop(step.plugin, None)
        answer = self._connection.ask(
            "load",
            plugin=step.plugin,
            modules=[{"name": name, "bytes": data} for name, data in step.modules],
            manifest=json.loads(self._fill(json.dumps(step.manifest))),
            log_level=step.log_level,
            http_response_headers=step.http_response_headers,
            kernel=self._kernel.data.hex(),
        )
        if answer["result"] == "unsupported":
            raise CaseFailed(
                where=step.where, expected="an answer to load", got="unsupported", is_unsupported=True
            )
        if answer["result"] == "reject":
            if step.may_reject:
                self._refused[step.plugin] = answer["message"]
                return
            if step.expect_reject is None:
                raise _failed(step, "the plug-in loads", f"reject: {answer['message']}")
            if step.expect_reject.lower() not in answer["message"].lower():
                raise _failed(step, f"a reject with `{step.expect_reject}`", answer["message"])
            return
        self._loaded.add(step.plugin)
        if step.expect_reject is not None:
            raise _failed(step, "a reject", "the plug-in was loaded")

    def _invoke(self, step: sdk_steps.Invoke) -> None:
        if step.plugin in self._refused:
            _judge_error(step, {"message": self._refused[step.plugin]})
            return
        fields = self._call(step)
        if step.cancel_after_ms is not None:
            fields["cancel_after_ms"] = step.cancel_after_ms
        answer = self._connection.ask("invoke", **fields)
        if answer["result"] == "unsupported":
            raise CaseFailed(
                where=step.where, expected="an answer to invoke", got="unsupported", is_unsupported=True
            )
        self._logs = [
            (entry["level"], entry["message"])
            for entry in answer["logs"]
            if entry["message"].startswith(GUEST)
        ]
        _judge_call(step, answer)

    def _together(self, step: sdk_steps.Together) -> None:
        answer = self._connection.ask(
            "together", calls=[{**self._call(call), "times": times} for call, times in step.calls]
        )
        if answer["result"] == "unsupported":
            raise AdapterFault("adapter-unsupported", "`together` is declared, and answered `unsupported`")
        counts = [sum(each["times"] for each in outcomes) for outcomes in answer["answers"]]
        if counts != [times for _, times in step.calls]:
            raise AdapterFault("adapter-answer", f"the calls of `together` have {counts} outcomes")
        for (call, _), outcomes in zip(step.calls, answer["answers"], strict=True):
            for outcome in outcomes:
                _judge_call(call, outcome)

    def _call(self, step: sdk_steps.Invoke) -> dict[str, object]:
        text = self._fill(step.data.decode("latin-1"))
        return {"plugin": step.plugin, "function": step.function, "input": text.encode("latin-1").hex()}

    def _fill(self, text: str) -> str:
        places = {
            "{server}": self._server.url,
            "{other-server}": self._server.other_url,
            "{port}": str(self._server.server_address[1]),
            "{folder}": self._folder.as_posix(),
        }
        for name, place in places.items():
            text = text.replace(name, place)
        return text


def _judge_call(step: sdk_steps.Invoke, answer: Answer) -> None:
    """Compare the outcome of one call with what the step wants."""
    if answer["result"] == "fail":
        if not step.may_fail:
            _judge_error(step, answer)
        return
    output = bytes.fromhex(answer["output"])
    if step.error is not None:
        raise _failed(step, f"an error with {_either(step.error)}", f"output {_shown(output)}")
    if step.output is not None and output != step.output:
        raise _failed(step, f"output {_shown(step.output)}", f"output {_shown(output)}")
    if step.has_json:
        _judge_json(step, output)


def _judge_error(step: sdk_steps.Invoke, answer: Answer) -> None:
    message = str(answer["message"])
    if step.error is None:
        raise _failed(step, f"`{step.function}` succeeds", f"error: {message}")
    if not any(text.lower() in message.lower() for text in step.error):
        raise _failed(step, f"an error with {_either(step.error)}", f"error: {message}")


def _judge_json(step: sdk_steps.Invoke, output: bytes) -> None:
    """Compare JSON; of an object only the members that the case names."""
    try:
        found = json.loads(output)
    except ValueError:
        raise _failed(step, f"output {json.dumps(step.json)}", f"output {_shown(output)}") from None
    if isinstance(found, dict) and isinstance(step.json, Mapping):
        found = {key: found.get(key) for key in step.json}
    if found != step.json:
        raise _failed(step, f"output {json.dumps(step.json)}", f"output {_shown(output)}")


def _failed(step: s.Step, expected: str, got: str) -> CaseFailed:
    """`got` goes into lists of known failures, so it is one short line."""
    line = " ".join(got.split())
    return CaseFailed(where=step.where, expected=expected, got=line[:_SHOWN])


def _either(texts: tuple[str, ...]) -> str:
    return " or ".join(f"`{text}`" for text in texts)


def _shown(data: bytes) -> str:
    text = repr(data[:48])[1:]
    return text if len(data) <= 48 else f"{text}... ({len(data)} bytes)"


def _no_variable(name: str) -> int:
    raise CaseFailed(where=name, expected="a number", got="a variable; the sdk profile has none")
