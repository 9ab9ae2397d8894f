"""Checks of an adapter before any kernel is judged: what fails here is the adapter's, never the kernel's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed, Outcome
from extism_kernel_conformance.lint.bench import LARGEST_U64, PAGE, Bench

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession

Check = Callable[[Bench], None]


def run_lint(session: AdapterSession) -> Iterator[tuple[str, Outcome]]:
    """Yield (id, outcome) for each check; a fault ends the adapter and the next check starts it again."""
    for name, check in CHECKS.items():
        yield f"lint/{name}", _run_check(session, name, check)
    yield "lint/end-of-input", _check_end_of_input(session)


def _run_check(session: AdapterSession, name: str, check: Check) -> Outcome:
    connection: Connection | None = None
    try:
        connection = session.connection()
        bench = Bench(connection, frozenset(session.hello.get("capabilities", ())), name)
        try:
            check(bench)
        finally:
            if connection.is_idle:
                bench.drop_all()
    except CaseFailed as failure:
        if connection is not None:
            with contextlib.suppress(AdapterFault):
                connection.discard()
        return Outcome(
            verdict="fail",
            step=failure.where,
            expected=failure.expected,
            got=failure.got,
            fault="adapter-lint",
        )
    except AdapterFault as fault:
        session.abandon()
        return Outcome(verdict=fault.verdict, fault=fault.code, got=fault.code, message=fault.message)
    return Outcome(verdict="pass")


def _check_end_of_input(session: AdapterSession) -> Outcome:
    try:
        session.connection()
        code = session.close()
    except AdapterFault as fault:
        session.abandon()
        return Outcome(verdict=fault.verdict, fault=fault.code, got=fault.code, message=fault.message)
    if code == 0:
        return Outcome(verdict="pass")
    got = "still running after 5 s" if code is None else f"exit code {code}"
    return Outcome(verdict="fail", expected="exit code 0 at the end of input", got=got, fault="adapter-lint")


def check_u64_round_trip(bench: Bench) -> None:
    """Every u64 travels unharmed, also where JSON numbers lose bits."""
    for value in (0, 1, 2**31, 2**32, 2**53 + 1, 2**63, LARGEST_U64):
        bench.expect_call("same_i64", [f"i64:{value}"], [f"i64:{value}"])
    bench.expect_call("is_largest", [f"i64:{LARGEST_U64}"], ["i32:1"])


def check_i32_sign(bench: Bench) -> None:
    """An i32 travels as an unsigned number and arrives as the same 32 bits."""
    for value in (0, 2**31 - 1, 2**31, 2**32 - 1):
        bench.expect_call("same_i32", [f"i32:{value}"], [f"i32:{value}"])
    bench.expect_call("is_minus_one", [f"i32:{2**32 - 1}"], ["i32:1"])
    bench.expect_call("second", [f"i64:{2**63}", "i32:7"], ["i32:7"])


def check_no_result(bench: Bench) -> None:
    """A function without result answers with no values."""
    bench.expect_call("nothing", [], [])


def check_read_at_2_32(bench: Bench) -> None:
    """An address above 32 bits is refused, never taken for the one below it."""
    bench.write(0, "a5")
    for address in (2**32, 2**32 + 1, 2**63, LARGEST_U64):
        bench.expect_refused("read", address, length=1)
        bench.expect_refused("write", address, bytes="5a")
    bench.expect_bytes(0, "a500")


def check_read_past_the_end(bench: Bench) -> None:
    """The last byte can be read; a read that goes past it is refused, not cut short."""
    bench.write(PAGE - 1, "77")
    bench.expect_bytes(PAGE - 1, "77")
    bench.expect_refused("read", PAGE - 1, length=2)
    bench.expect_refused("read", PAGE, length=1)
    bench.expect_refused("read", 0, length=PAGE + 1)


def check_write_past_the_end(bench: Bench) -> None:
    """A write that goes past the end is refused, and writes nothing."""
    bench.expect_refused("write", PAGE - 1, bytes="1234")
    bench.expect_bytes(PAGE - 2, "0000")


def check_memory_is_shared(bench: Bench) -> None:
    """What the host writes the module reads, and the other way round."""
    bench.write(100, "0102fe")
    bench.expect_call("load", ["i32:102"], ["i32:254"])
    bench.expect_call("store", ["i32:101", "i32:171"], [])
    bench.expect_bytes(99, "0001abfe00")


def check_view_after_growth(bench: Bench) -> None:
    """After the module grew its memory, old and new pages can be read and written."""
    bench.write(5, "11")
    bench.expect_size(1)
    bench.expect_call("grow", ["i32:2"], ["i32:1"])
    bench.expect_size(3)
    bench.expect_call("store", [f"i32:{3 * PAGE - 1}", "i32:200"], [])
    bench.expect_bytes(3 * PAGE - 1, "c8")
    bench.write(2 * PAGE, "44")
    bench.expect_call("load", [f"i32:{2 * PAGE}"], ["i32:68"])
    bench.expect_bytes(5, "11")
    bench.expect_refused("read", 3 * PAGE, length=1)


def check_long_lines(bench: Bench) -> None:
    """A request and an answer of 1 MiB of bytes, 2 MiB of hex, arrive whole."""
    bench.expect_call("grow", ["i32:16"], ["i32:1"])
    data = bytes(range(256)) * 4096
    bench.write(7, data.hex())
    bench.expect_bytes(7, data.hex())


def check_trap_unreachable(bench: Bench) -> None:
    """`unreachable` is a trap of that kind."""
    bench.expect_trap("unreachable", [], "unreachable")


def check_trap_out_of_bounds(bench: Bench) -> None:
    """A load past the memory is a trap `out-of-bounds`."""
    bench.expect_trap("load", [f"i32:{2**32 - 1}"], "out-of-bounds")


def check_trap_integer(bench: Bench) -> None:
    """A division by zero is a trap `integer`."""
    bench.expect_trap("divide", ["i32:0"], "integer")


def check_call_after_trap(bench: Bench) -> None:
    """A trap ends one call: another instance works, and the same one where the adapter says so."""
    bench.write(3, "09")
    bench.expect_trap("unreachable", [], "unreachable")
    bench.expect_call("same_i64", ["i64:5"], ["i64:5"], instance=bench.instantiate("bench"))
    if "resume-after-trap" in bench.declared:
        bench.expect_call("load", ["i32:3"], ["i32:9"])
        bench.expect_bytes(3, "09")


def check_unknown_operation(bench: Bench) -> None:
    """An operation that protocol 1 does not have is answered `unsupported`."""
    answer = bench.connection.ask("from_a_later_protocol", instance=bench.instance)
    bench.require(answer["result"] == "unsupported", "unsupported", answer["result"])


def check_instances_apart(bench: Bench) -> None:
    """Two instances share no memory and no globals; the first survives the end of the second."""
    other = bench.instantiate("bench")
    bench.write(0, "ff")
    bench.expect_bytes(0, "00", instance=other)
    bench.expect_call("count", [], ["i32:1"])
    bench.expect_call("count", [], ["i32:2"])
    bench.expect_call("count", [], ["i32:1"], instance=other)
    bench.drop(other)
    bench.expect_call("count", [], ["i32:3"])


def check_many_instances(bench: Bench) -> None:
    """Instances come and go: each is fresh, and what is dropped is let go."""
    for _ in range(100):
        name = bench.instantiate("bench")
        bench.expect_call("count", [], ["i32:1"], instance=name)
        bench.drop(name)


def check_pipelining(bench: Bench) -> None:
    """Requests sent ahead are all answered, in order."""
    answers: list[object] = []
    for value in range(200):
        fields = {"instance": bench.instance, "name": "same_i64", "args": [f"i64:{value}"]}
        bench.connection.send("call", fields, lambda answer: answers.append(answer.get("values")))
    bench.connection.settle()
    bench.require(answers == [[f"i64:{value}"] for value in range(200)], "200 answers in order", "others")


def check_fuel(bench: Bench) -> None:
    """Where fuel is declared: too little of it cuts a call, the next call has as much as it needs."""
    if "fuel" not in bench.declared:
        return
    bench.expect_trap("spin", ["i32:1000000"], "fuel", fuel="1000")
    bench.expect_call("spin", ["i32:1000000"], ["i32:0"])
    bench.expect_trap("spin", ["i32:1000000"], "fuel", fuel="0")


def check_fuel_used(bench: Bench) -> None:
    """Where it is declared that calls say what they used: a longer call says more, none more than it had."""
    if "fuel-used" not in bench.declared:
        return
    short = bench.expect_used("spin", ["i32:10"], at_least=10, fuel=100_000)
    bench.expect_used("spin", ["i32:1000"], at_least=50 * short, fuel=100_000)
    again = bench.expect_used("spin", ["i32:10"], at_least=10, fuel=100_000)
    bench.require(again == short, f"the same call to use {short} fuel again", str(again))


def check_externref(bench: Bench) -> None:
    """Where globals of type externref are declared: a null one is read as such."""
    if "externref" in bench.declared:
        bench.expect_null_global(bench.instantiate("context"), "extism_context")


def check_grow(bench: Bench) -> None:
    """Where growth from outside is declared: it gives the old size, and -1 beyond what can be."""
    if "grow" in bench.declared:
        bench.expect_grow(2, 1)
        bench.expect_size(3)
        bench.expect_call("load", [f"i32:{3 * PAGE - 1}"], ["i32:0"])
        bench.expect_grow(65536, -1)


def check_reject_compile(bench: Bench) -> None:
    """A module that is not valid is rejected when compiled."""
    bench.expect_reject("invalid", "compile")


def check_reject_link(bench: Bench) -> None:
    """A module with an import is rejected when linked: nothing is ever provided."""
    bench.expect_reject("import", "link")


def check_reject_start(bench: Bench) -> None:
    """A start function that traps is a rejection, not a trap."""
    bench.expect_reject("start", "start")


CHECKS: Mapping[str, Check] = {
    name.removeprefix("check_").replace("_", "-"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}
"""Every check above, in order, by the name it has in reports."""
