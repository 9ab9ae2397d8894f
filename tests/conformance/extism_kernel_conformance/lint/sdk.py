"""Checks of an adapter of the sdk profile, before it is asked about any promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import Outcome
from extism_kernel_conformance.base.resources import suite_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession

CHECKS = (
    "unknown-operation",
    "bytes-travel-whole",
    "error-is-no-fault",
    "reject-is-no-fault",
    "plugins-apart",
    "calls-together",
)


def run_sdk_lint(session: AdapterSession) -> Iterator[tuple[str, Outcome]]:
    """Yield (id, outcome) for each check; a fault ends the adapter and the next check starts it again."""
    for name in CHECKS:
        try:
            connection = session.connection()
            if name == "calls-together" and "together" not in session.hello["capabilities"]:
                outcome = Outcome(verdict="pass")  # what is not declared is never asked for
            else:
                outcome = _run(name, connection)
        except AdapterFault as fault:
            session.abandon()
            outcome = Outcome(verdict=fault.verdict, fault=fault.code, got=fault.code, message=fault.message)
        yield f"lint/{name}", outcome


def _run(name: str, connection: Connection) -> Outcome:
    if name == "unknown-operation":
        got = connection.ask("from_a_later_protocol", plugin="a")["result"]
        return _judge(got == "unsupported", "unsupported", str(got))
    if name == "reject-is-no-fault":
        got = _load(connection, "broken", "0061736d01000000ff")
        return _judge(got == "reject", "reject", got)
    kit = (suite_root() / "plugins" / "kit.hex").read_text(encoding="ascii").strip()
    got = _load(connection, "lint", kit)
    if got != "ok":
        return _judge(False, "ok", got)
    try:
        if name == "calls-together":
            return _run_together(connection, kit)
        return _run_loaded(name, connection, kit)
    finally:
        if connection.is_idle:
            connection.ask("unload", plugin="lint")


def _run_loaded(name: str, connection: Connection, kit: str) -> Outcome:
    if name == "bytes-travel-whole":
        data = bytes(range(256)).hex()
        answer = connection.ask("invoke", plugin="lint", function="echo", input=data)
        return _judge(answer.get("output") == data, "256 bytes", str(answer.get("output", answer["result"])))
    if name == "error-is-no-fault":
        answer = connection.ask("invoke", plugin="lint", function="trap", input="")
        return _judge(answer["result"] == "fail", "fail", str(answer["result"]))
    _load(connection, "other", kit)
    counts = [
        str(connection.ask("invoke", plugin=plugin, function="count", input="").get("output"))
        for plugin in ("lint", "lint", "other")
    ]
    connection.ask("unload", plugin="other")
    return _judge(counts == ["01000000", "02000000", "01000000"], "1, 2, 1", ", ".join(counts))


def _run_together(connection: Connection, kit: str) -> Outcome:
    """One call that works and one that traps, side by side: how each ended, and how often."""
    _load(connection, "other", kit)
    calls = [
        {"plugin": "lint", "function": "echo", "input": "78", "times": 3},
        {"plugin": "other", "function": "trap", "input": "", "times": 2},
    ]
    answer = connection.ask("together", calls=calls)
    connection.ask("unload", plugin="other")
    found = [
        (each["result"], each.get("output"), each["times"])
        for outcomes in answer.get("answers", ())
        for each in outcomes
    ]
    wanted = [("ok", "78", 3), ("fail", None, 2)]
    return _judge(found == wanted, "x three times, fail two times", str(found or answer["result"]))


def _load(connection: Connection, plugin: str, module: str) -> str:
    modules = [{"name": "main", "bytes": module}]
    fields: dict[str, object] = {"plugin": plugin, "modules": modules, "manifest": {}, "log_level": "off"}
    return str(connection.ask("load", **fields, http_response_headers=False, kernel="")["result"])


def _judge(is_right: bool, expected: str, got: str) -> Outcome:
    if is_right:
        return Outcome(verdict="pass")
    return Outcome(verdict="fail", expected=expected, got=got, fault="adapter-lint")
