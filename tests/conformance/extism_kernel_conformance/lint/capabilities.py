"""What a runtime can do, found out with tiny modules instead of believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.lint.examiner import Examiner, lint_module

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession


def find_capabilities(session: AdapterSession) -> frozenset[str]:
    """Return the capabilities a runtime has shown.

    `externref` and `grow` are tried whatever the adapter says. The others are tried where the adapter
    declares them: only it knows whether an instance may be trusted after a trap.
    """
    trials = {
        "externref": _has_externref,
        "grow": _has_grow,
        "fuel": _has_fuel,
        "fuel-used": _has_fuel_used,
        "resume-after-trap": _resumes,
    }
    found: set[str] = set()
    for name, trial in trials.items():
        connection = session.connection()
        declared = frozenset(session.hello.get("capabilities", ()))
        if name in {"fuel", "fuel-used", "resume-after-trap"} and name not in declared:
            continue
        try:
            if trial(connection, declared):
                found.add(name)
        except (CaseFailed, AdapterFault):
            session.abandon()  # whatever state it is in; lint will say what is wrong with it
    return frozenset(found)


def _has_externref(connection: Connection, _declared: frozenset[str]) -> bool:
    answer = connection.ask("instantiate", instance="externref", module=lint_module("context"))
    if answer["result"] != "ok":
        return False
    value = connection.ask("global_get", instance="externref", name="extism_context")
    connection.ask("drop", instance="externref")
    return value.get("value") == "externref:null"


def _has_grow(connection: Connection, declared: frozenset[str]) -> bool:
    examiner = Examiner(connection, declared, "grow")
    answer = connection.ask("grow", instance=examiner.instance, pages=1)
    examiner.drop_all()
    return bool(answer["result"] == "ok" and answer["pages"] == 1)


def _has_fuel(connection: Connection, declared: frozenset[str]) -> bool:
    examiner = Examiner(connection, declared, "fuel")
    examiner.expect_trap("spin", ["i32:1000000"], "fuel", fuel="1000")
    examiner.drop_all()
    return True


def _has_fuel_used(connection: Connection, declared: frozenset[str]) -> bool:
    examiner = Examiner(connection, declared, "fuel-used")
    examiner.expect_used("spin", ["i32:100"], at_least=100, fuel=100_000)
    examiner.drop_all()
    return True


def _resumes(connection: Connection, declared: frozenset[str]) -> bool:
    examiner = Examiner(connection, declared, "resume-after-trap")
    examiner.expect_trap("unreachable", [], "unreachable")
    examiner.expect_call("count", [], ["i32:1"])
    examiner.drop_all()
    return True
