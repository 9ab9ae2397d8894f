"""Checks of an adapter before any kernel is judged: what fails here is the adapter's, never the kernel's."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.outcome import CaseFailed, Outcome
from extism_kernel_conformance.lint.examiner import LARGEST_U64, PAGE, Examiner, lint_module
from extism_kernel_conformance.wasm.module import limit_memory, parse_kernel

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession

Check = Callable[[Examiner], None]

PAST_THE_END = {"result": "trap", "kind": "out-of-bounds"}


def run_lint(session: AdapterSession) -> Iterator[tuple[str, Outcome]]:
    """Yield (id, outcome) for each check; a fault ends the adapter and the next check starts it again."""
    for name, check in CHECKS.items():
        yield f"lint/{name}", _run_check(session, name, check)
    yield "lint/end-of-input", _check_end_of_input(session)


def _run_check(session: AdapterSession, name: str, check: Check) -> Outcome:
    connection: Connection | None = None
    try:
        connection = session.connection()
        examiner = Examiner(connection, frozenset(session.hello.get("capabilities", ())), name)
        try:
            check(examiner)
        finally:
            if connection.is_idle:
                examiner.drop_all()
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


def check_u64_round_trip(examiner: Examiner) -> None:
    """Every u64 travels unharmed, also where JSON numbers lose bits."""
    for value in (0, 1, 2**31, 2**32, 2**53 + 1, 2**63, LARGEST_U64):
        examiner.expect_call("same_i64", [f"i64:{value}"], [f"i64:{value}"])
    examiner.expect_call("is_largest", [f"i64:{LARGEST_U64}"], ["i32:1"])


def check_i32_sign(examiner: Examiner) -> None:
    """An i32 travels as an unsigned number and arrives as the same 32 bits."""
    for value in (0, 2**31 - 1, 2**31, 2**32 - 1):
        examiner.expect_call("same_i32", [f"i32:{value}"], [f"i32:{value}"])
    examiner.expect_call("is_minus_one", [f"i32:{2**32 - 1}"], ["i32:1"])
    examiner.expect_call("second", [f"i64:{2**63}", "i32:7"], ["i32:7"])


def check_no_result(examiner: Examiner) -> None:
    """A function without result answers with no values."""
    examiner.expect_call("nothing", [], [])


def check_read_at_2_32(examiner: Examiner) -> None:
    """An address above 32 bits is refused, never taken for the one below it."""
    examiner.write(0, "a5")
    for address in (2**32, 2**32 + 1, 2**63, LARGEST_U64):
        examiner.expect_refused("read", address, length=1)
        examiner.expect_refused("write", address, bytes="5a")
    examiner.expect_bytes(0, "a500")


def check_read_past_the_end(examiner: Examiner) -> None:
    """The last byte can be read; a read that goes past it is refused, not cut short."""
    examiner.write(PAGE - 1, "77")
    examiner.expect_bytes(PAGE - 1, "77")
    examiner.expect_refused("read", PAGE - 1, length=2)
    examiner.expect_refused("read", PAGE, length=1)
    examiner.expect_refused("read", 0, length=PAGE + 1)


def check_write_past_the_end(examiner: Examiner) -> None:
    """A write that goes past the end is refused, and writes nothing."""
    examiner.expect_refused("write", PAGE - 1, bytes="1234")
    examiner.expect_bytes(PAGE - 2, "0000")


def check_memory_is_shared(examiner: Examiner) -> None:
    """What the host writes the module reads, and the other way round."""
    examiner.write(100, "0102fe")
    examiner.expect_call("load", ["i32:102"], ["i32:254"])
    examiner.expect_call("store", ["i32:101", "i32:171"], [])
    examiner.expect_bytes(99, "0001abfe00")


def check_view_after_growth(examiner: Examiner) -> None:
    """After the module grew its memory, old and new pages can be read and written."""
    examiner.write(5, "11")
    examiner.expect_size(1)
    examiner.expect_call("grow", ["i32:2"], ["i32:1"])
    examiner.expect_size(3)
    examiner.expect_call("store", [f"i32:{3 * PAGE - 1}", "i32:200"], [])
    examiner.expect_bytes(3 * PAGE - 1, "c8")
    examiner.write(2 * PAGE, "44")
    examiner.expect_call("load", [f"i32:{2 * PAGE}"], ["i32:68"])
    examiner.expect_bytes(5, "11")
    examiner.expect_refused("read", 3 * PAGE, length=1)


def check_long_lines(examiner: Examiner) -> None:
    """A request and an answer of 1 MiB of bytes, 2 MiB of hex, arrive whole."""
    examiner.expect_call("grow", ["i32:16"], ["i32:1"])
    data = bytes(range(256)) * 4096
    examiner.write(7, data.hex())
    examiner.expect_bytes(7, data.hex())


def check_trap_unreachable(examiner: Examiner) -> None:
    """`unreachable` is a trap of that kind."""
    examiner.expect_trap("unreachable", [], "unreachable")


def check_trap_out_of_bounds(examiner: Examiner) -> None:
    """A load past the memory is a trap `out-of-bounds`."""
    examiner.expect_trap("load", [f"i32:{2**32 - 1}"], "out-of-bounds")


def check_trap_integer(examiner: Examiner) -> None:
    """A division by zero is a trap `integer`."""
    examiner.expect_trap("divide", ["i32:0"], "integer")


def check_call_after_trap(examiner: Examiner) -> None:
    """A trap ends one call: another instance works, and the same one where the adapter says so."""
    examiner.write(3, "09")
    examiner.expect_trap("unreachable", [], "unreachable")
    examiner.expect_call("same_i64", ["i64:5"], ["i64:5"], instance=examiner.instantiate("operations"))
    if "resume-after-trap" in examiner.declared:
        examiner.expect_call("load", ["i32:3"], ["i32:9"])
        examiner.expect_bytes(3, "09")


def check_unknown_operation(examiner: Examiner) -> None:
    """An operation that protocol 1 does not have is answered `unsupported`."""
    answer = examiner.connection.ask("from_a_later_protocol", instance=examiner.instance)
    examiner.require(answer["result"] == "unsupported", "unsupported", answer["result"])


def check_instances_apart(examiner: Examiner) -> None:
    """Two instances share no memory and no globals; the first survives the end of the second."""
    other = examiner.instantiate("operations")
    examiner.write(0, "ff")
    examiner.expect_bytes(0, "00", instance=other)
    examiner.expect_call("count", [], ["i32:1"])
    examiner.expect_call("count", [], ["i32:2"])
    examiner.expect_call("count", [], ["i32:1"], instance=other)
    examiner.drop(other)
    examiner.expect_call("count", [], ["i32:3"])


def check_many_instances(examiner: Examiner) -> None:
    """Instances come and go: each is fresh, and what is dropped is let go."""
    for _ in range(100):
        name = examiner.instantiate("operations")
        examiner.expect_call("count", [], ["i32:1"], instance=name)
        examiner.drop(name)


def check_pipelining(examiner: Examiner) -> None:
    """Requests sent ahead are all answered, in order."""
    answers: list[object] = []
    for value in range(200):
        fields = {"instance": examiner.instance, "name": "same_i64", "args": [f"i64:{value}"]}
        examiner.connection.send("call", fields, lambda answer: answers.append(answer.get("values")))
    examiner.connection.settle()
    examiner.require(answers == [[f"i64:{value}"] for value in range(200)], "200 answers in order", "others")


def check_fuel(examiner: Examiner) -> None:
    """Where fuel is declared: too little of it cuts a call, the next call has as much as it needs."""
    if "fuel" not in examiner.declared:
        return
    examiner.expect_trap("spin", ["i32:1000000"], "fuel", fuel="1000")
    examiner.expect_call("spin", ["i32:1000000"], ["i32:0"])
    examiner.expect_trap("spin", ["i32:1000000"], "fuel", fuel="0")


def check_fuel_used(examiner: Examiner) -> None:
    """Where it is declared that calls say what they used: a longer call says more, none more than it had."""
    if "fuel-used" not in examiner.declared:
        return
    short = examiner.expect_used("spin", ["i32:10"], at_least=10, fuel=100_000)
    examiner.expect_used("spin", ["i32:1000"], at_least=50 * short, fuel=100_000)
    again = examiner.expect_used("spin", ["i32:10"], at_least=10, fuel=100_000)
    examiner.require(again == short, f"the same call to use {short} fuel again", str(again))


def check_externref(examiner: Examiner) -> None:
    """Where globals of type externref are declared: a null one is read as such."""
    if "externref" in examiner.declared:
        examiner.expect_null_global(examiner.instantiate("context"), "extism_context")


def check_grow(examiner: Examiner) -> None:
    """Where growth from outside is declared: it gives the old size, and -1 beyond what can be."""
    if "grow" in examiner.declared:
        examiner.expect_grow(2, 1)
        examiner.expect_size(3)
        examiner.expect_call("load", [f"i32:{3 * PAGE - 1}"], ["i32:0"])
        examiner.expect_grow(65536, -1)


def check_batch(examiner: Examiner) -> None:
    """Where batches are declared: all operations run in order, whatever one of them comes to."""
    if "batch" not in examiner.declared:
        return
    at = {"op": "call", "instance": examiner.instance}
    examiner.expect_batch(
        [
            ({**at, "name": "count", "args": []}, {"values": ["i32:1"]}),
            ({**at, "name": "unreachable", "args": []}, {"result": "trap", "kind": "unreachable"}),
            ({"op": "from_a_later_protocol", "instance": examiner.instance}, {"result": "unsupported"}),
            ({"op": "size", "instance": examiner.instance}, {"pages": 1}),
            ({"op": "write", "instance": examiner.instance, "address": "65536", "bytes": "00"}, PAST_THE_END),
            ({"op": "write", "instance": examiner.instance, "address": "9", "bytes": "5a"}, {}),
            ({"op": "read", "instance": examiner.instance, "address": "8", "length": 2}, {"bytes": "005a"}),
        ]
    )
    examiner.expect_call("same_i64", ["i64:5"], ["i64:5"], instance=examiner.instantiate("operations"))


def check_batch_references(examiner: Examiner) -> None:
    """Where batches are declared: a number may be an earlier value, times a factor, plus an offset."""
    if "batch" not in examiner.declared:
        return
    at = {"op": "call", "instance": examiner.instance, "name": "same_i64"}
    memory = {"instance": examiner.instance}
    examiner.expect_batch(
        [
            ({**at, "args": [f"i64:{2**53 + 1}"]}, {"values": [f"i64:{2**53 + 1}"]}),
            ({**at, "args": ["i64:@0"]}, {"values": [f"i64:{2**53 + 1}"]}),
            ({**at, "args": ["i64:@1+7"]}, {"values": [f"i64:{2**53 + 8}"]}),
            ({**at, "args": [f"i64:@0*{LARGEST_U64}+{2**53 + 21}"]}, {"values": ["i64:20"]}),
            ({**at, "name": "same_i32", "args": ["i32:@2+1"]}, {"values": ["i32:9"]}),
            ({"op": "size", **memory}, {"pages": 1}),
            ({"op": "write", **memory, "address": "@5*65536+18446744073709551615", "bytes": "77"}, {}),
            ({"op": "read", **memory, "address": "@3+65514", "length": 2}, {"bytes": "0077"}),
            ({"op": "read", **memory, "address": "@0", "length": 1}, PAST_THE_END),
        ]
    )


def check_modules(examiner: Examiner) -> None:
    """Where it is declared that modules are kept by digest: each name brings back its own module."""
    if "modules" not in examiner.declared:
        return
    free = bytes.fromhex(lint_module("operations"))
    limited = limit_memory(parse_kernel(free), 1)
    for module in (free, limited):
        examiner.instantiate_named(hashlib.sha256(module).hexdigest(), module)
    for module, grown in ((free, 1), (limited, 2**32 - 1), (free, 1)):
        name = examiner.instantiate_named(hashlib.sha256(module).hexdigest())
        examiner.expect_call("grow", ["i32:1"], [f"i32:{grown}"], instance=name)


def check_reject_compile(examiner: Examiner) -> None:
    """A module that is not valid is rejected when compiled."""
    examiner.expect_reject("invalid", "compile")


def check_reject_link(examiner: Examiner) -> None:
    """A module with an import is rejected when linked: nothing is ever provided."""
    examiner.expect_reject("import", "link")


def check_reject_start(examiner: Examiner) -> None:
    """A start function that traps is a rejection, not a trap."""
    examiner.expect_reject("start", "start")


CHECKS: Mapping[str, Check] = {
    name.removeprefix("check_").replace("_", "-"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}
"""Every check above, in order, by the name it has in reports."""
