"""What a runtime can do, found out with tiny modules instead of believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.lint.bench import Bench, lint_module

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession


def probe_capabilities(session: AdapterSession) -> frozenset[str]:
    """Return the capabilities a runtime has shown.

    `externref` and `grow` are tried whatever the adapter says. The others are tried where the adapter
    declares them: only it knows whether an instance may be trusted after a trap.
    """
    probes = {
        "externref": _has_externref,
        "grow": _has_grow,
        "fuel": _has_fuel,
        "fuel-used": _has_fuel_used,
        "resume-after-trap": _resumes,
    }
    found: set[str] = set()
    for name, probe in probes.items():
        connection = session.connection()
        declared = frozenset(session.hello.get("capabilities", ()))
        if name in {"fuel", "fuel-used", "resume-after-trap"} and name not in declared:
            continue
        try:
            if probe(connection, declared):
                found.add(name)
        except (CaseFailed, AdapterFault):
            session.abandon()  # whatever state it is in; lint will say what is wrong with it
    return frozenset(found)


def _has_externref(connection: Connection, _declared: frozenset[str]) -> bool:
    answer = connection.ask("instantiate", instance="probe", module=lint_module("context"))
    if answer["result"] != "ok":
        return False
    value = connection.ask("global_get", instance="probe", name="extism_context")
    connection.ask("drop", instance="probe")
    return value.get("value") == "externref:null"


def _has_grow(connection: Connection, declared: frozenset[str]) -> bool:
    bench = Bench(connection, declared, "probe-grow")
    answer = connection.ask("grow", instance=bench.instance, pages=1)
    bench.drop_all()
    return bool(answer["result"] == "ok" and answer["pages"] == 1)


def _has_fuel(connection: Connection, declared: frozenset[str]) -> bool:
    bench = Bench(connection, declared, "probe-fuel")
    bench.expect_trap("spin", ["i32:1000000"], "fuel", fuel="1000")
    bench.drop_all()
    return True


def _has_fuel_used(connection: Connection, declared: frozenset[str]) -> bool:
    bench = Bench(connection, declared, "probe-fuel-used")
    bench.expect_used("spin", ["i32:100"], at_least=100, fuel=100_000)
    bench.drop_all()
    return True


def _resumes(connection: Connection, declared: frozenset[str]) -> bool:
    bench = Bench(connection, declared, "probe-resume")
    bench.expect_trap("unreachable", [], "unreachable")
    bench.expect_call("count", [], ["i32:1"])
    bench.drop_all()
    return True
