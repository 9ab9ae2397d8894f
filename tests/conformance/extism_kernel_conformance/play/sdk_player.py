"""Plays a case of the sdk profile: an adapter is an SDK, a plug-in is a module of the suite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.cases import sdk_steps
from extism_kernel_conformance.cases import steps as s
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
    with run_server() as server:
        player = _Player(connection, kernel, server)
        try:
            player.run(case.setup)
            player.run(case.steps)
        finally:
            if connection.is_idle:  # else the adapter is at fault and will be ended
                player.unload_all()


class _Player:
    def __init__(self, connection: Connection, kernel: Kernel, server: SdkServer) -> None:
        self._connection = connection
        self._kernel = kernel
        self._server = server
        self._loaded: set[str] = set()
        self._logs: list[tuple[str, str]] = []

    def run(self, steps: tuple[s.Step, ...]) -> None:
        for step in steps:
            match step:
                case sdk_steps.Load():
                    self._load(step)
                case sdk_steps.Invoke():
                    self._invoke(step)
                case sdk_steps.Logs():
                    if tuple(self._logs) != step.entries:
                        raise _failed(step, f"the logs {list(step.entries)}", f"{self._logs}")
                case sdk_steps.Requests():
                    if self._server.count != step.count:
                        raise _failed(step, f"{step.count} requests", f"{self._server.count}")
                case s.Repeat():
                    for _ in range(step.times.evaluate(_no_variable)):
                        self.run(step.steps)
                case _:
                    raise TypeError(f"no such step: {step!r}")

    def unload_all(self) -> None:
        for name in sorted(self._loaded):
            self._connection.ask("unload", plugin=name)
        self._loaded.clear()

    def _load(self, step: sdk_steps.Load) -> None:
        if step.plugin in self._loaded:
            self._connection.ask("unload", plugin=step.plugin)
            self._loaded.discard(step.plugin)
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
            if step.expect_reject is None:
                raise _failed(step, "the plug-in loads", f"reject: {answer['message']}")
            if step.expect_reject.lower() not in answer["message"].lower():
                raise _failed(step, f"a reject with `{step.expect_reject}`", answer["message"])
            return
        self._loaded.add(step.plugin)
        if step.expect_reject is not None:
            raise _failed(step, "a reject", "the plug-in was loaded")

    def _invoke(self, step: sdk_steps.Invoke) -> None:
        fields: dict[str, object] = {
            "plugin": step.plugin,
            "function": step.function,
            "input": self._fill(step.data.decode("latin-1")).encode("latin-1").hex(),
        }
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
        if answer["result"] == "fail":
            _judge_error(step, answer)
            return
        output = bytes.fromhex(answer["output"])
        if step.error is not None:
            raise _failed(step, f"an error with {_either(step.error)}", f"output {_shown(output)}")
        if step.output is not None and output != step.output:
            raise _failed(step, f"output {_shown(step.output)}", f"output {_shown(output)}")
        if step.has_json:
            _judge_json(step, output)

    def _fill(self, text: str) -> str:
        return text.replace("{server}", self._server.url).replace("{other-server}", self._server.other_url)


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
