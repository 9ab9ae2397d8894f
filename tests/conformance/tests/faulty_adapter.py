"""The test adapter: wasmtime behind the adapter kit, with one fault chosen by name.

Faults of the first kind break when `length(13)` is called: lint passes, and the run has to go on after them.
Faults of the second kind are there from the start, for the lint to find. Those in BATCHING get batches.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import wasmtime
from extism_kernel_conformance.adapter import kit as adapter_kit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAULT = sys.argv[1]
BATCHING = {
    "none-in-batches",
    "batch-ends-at-a-trap",
    "short-references",
    "one-digest-for-all",
    "short-batch",
    "no-answers",
    "ids-in-a-batch",
    "text-in-a-batch",
    "dies-in-a-batch",
}
engine = wasmtime.Engine()
Answer = dict[str, Any]


class Instance:
    shared: Instance | None = None

    def __init__(self, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.first_view: Any = None

    def call(self, name: str, args: Sequence[int]) -> Any:  # noqa: ANN401 - whatever the runtime returns
        if FAULT == "stale-view" and self.first_view is None:
            self.first_view = bytearray(self.buffer())
        return self.exports[name](self.store, *args)  # type: ignore[operator]

    def buffer(self) -> Any:  # noqa: ANN401 - a ctypes array
        return self.exports["memory"].get_buffer_ptr(self.store)  # type: ignore[union-attr]

    def memory(self) -> Any:  # noqa: ANN401 - a buffer
        return self.first_view or self.buffer()


def instantiate(module: wasmtime.Module) -> Instance:
    if FAULT == "one-instance-for-all":
        Instance.shared = Instance.shared or Instance(module)
        return Instance.shared
    return Instance(module)


def compile_module(code: bytes) -> wasmtime.Module:
    return wasmtime.Module(engine, code)


def break_now(answer: Answer) -> str | Answer:
    """Return what a faulty adapter sends instead of the right answer."""
    if FAULT == "dies":
        print("cannot go on", file=sys.stderr, flush=True)
        os._exit(3)
    if FAULT == "killed":
        os.abort()
    if FAULT in {"hangs", "no-flush"}:
        time.sleep(3600)
    if FAULT == "closes-output":
        os.close(1)
        time.sleep(3600)
    faults: dict[str, str | Answer] = {
        "garbage": "Segmentation fault (core dumped)",
        "half-json": '{"id": ',
        "no-object": "[1, 2]",
        "binary": "\x00\x01\x02",
        "wrong-id": {**answer, "id": answer["id"] + 1000},
        "id-as-text": {**answer, "id": str(answer["id"])},
        "one-too-many": json.dumps(answer) + "\n" + json.dumps(answer),
        "oversized": "x" * (5 * 1024 * 1024),
        "lies-about-types": {**answer, "values": ["i32:0"]},
        "too-many-values": {**answer, "values": ["i64:0", "i64:0"]},
        "not-a-value": {**answer, "values": [0]},
        "out-of-range": {**answer, "values": [f"i64:{2**64}"]},
        "negative": {**answer, "values": ["i64:-1"]},
        "no-such-result": {**answer, "result": "fine"},
        "result-is-a-list": {**answer, "result": []},
        "no-such-kind": {"id": answer["id"], "result": "trap", "kind": "sigsegv", "message": ""},
        "extra-member": {**answer, "took": 3},
        "unsupported-now": {"id": answer["id"], "result": "unsupported"},
        "half-a-pair": {"id": answer["id"], "result": "error", "message": "a \ud83d\u2028b\u0085c"},
        "error-answer": {"id": answer["id"], "result": "error", "message": "KeyError: 'a'"},
    }
    return faults.get(FAULT, answer)


def break_batch(request: Mapping[str, Any], answer: Answer) -> Answer:
    """Return what a faulty adapter answers to a batch."""
    answers = answer["answers"]
    if FAULT == "batch-ends-at-a-trap":
        ends = [number for number, each in enumerate(answers, 1) if each["result"] == "trap"]
        return {**answer, "answers": answers[: min(ends, default=len(answers))]}
    if not any(each.get("args") == ["i64:13"] for each in request["operations"]):
        return answer
    if FAULT == "dies-in-a-batch":
        os._exit(3)
    faults = {
        "short-batch": {"result": "ok", "answers": answers[1:]},
        "no-answers": {"result": "ok"},
        "ids-in-a-batch": {"result": "ok", "answers": [{"id": 1, **each} for each in answers]},
        "text-in-a-batch": {"result": "ok", "answers": ["ok" for _ in answers]},
    }
    return faults.get(FAULT, answer)


class Server(adapter_kit._Server):
    def _number(self, text: str) -> int:
        number = super()._number(text)
        return number % 2**32 if FAULT == "short-references" and text.startswith("@") else number

    def answer(self, request: Mapping[str, Any]) -> Answer:  # noqa: C901, PLR0911 - one fault after another
        if FAULT == "one-digest-for-all" and "digest" in request:
            request = {**request, "digest": "the only one"}
        if FAULT == "32-bit-addresses" and "address" in request:
            request = {**request, "address": str(int(request["address"]) % 2**32)}
        if FAULT == "short-read" and request["op"] == "read":
            view = self._view(request)
            start = int(request["address"])
            return {"result": "ok", "bytes": view[start : start + request["length"]].hex()}
        if FAULT == "unknown-is-ok" and request["op"] not in self.operations:
            return {"result": "ok"}
        if FAULT == "unknown-is-error" and request["op"] not in self.operations:
            return {"result": "error", "message": "unknown operation"}
        answer = super().answer(request)
        if request["op"] == "batch":
            return break_batch(request, answer)
        if FAULT == "traps-are-other" and answer["result"] == "trap" and request["op"] == "call":
            answer["kind"] = "other"
        if FAULT == "traps-are-errors" and answer["result"] == "trap":
            return {"result": "error", "message": answer["message"]}
        if FAULT == "link-is-compile" and answer.get("stage") == "link":
            answer["stage"] = "compile"
        if FAULT == "start-is-a-trap" and answer.get("stage") == "start":
            return {"result": "trap", "kind": "unreachable", "message": ""}
        if FAULT == "floats" and "values" in answer:  # what a language without 64-bit integers does
            answer["values"] = [f"{v[:3]}:{int(float(v[4:])) % 2 ** int(v[1:3])}" for v in answer["values"]]
        if FAULT == "signed-i32" and "values" in answer:
            answer["values"] = [
                f"i32:{int(v[4:]) - 2**32}" if v.startswith("i32") and int(v[4:]) >= 2**31 else v
                for v in answer["values"]
            ]
        return answer


def main() -> None:
    if FAULT == "does-not-start":
        sys.exit("no such library: libengine.so")
    server = Server(compile_module, instantiate, wasmtime.Trap, adapter_kit.find_trap_kind)
    declared = {
        "declares-too-much": ["fuel", "externref", "grow"],
        "declares-what-it-does-not-say": ["fuel-used"],
    }.get(FAULT, ["batch", "modules"] if FAULT in BATCHING else [])
    hello = {
        "protocol": 1,
        "adapter": "faulty",
        "runtime": "wasmtime",
        "version": "1.2.3",
        "capabilities": declared,
    }
    if FAULT == "other-protocol":
        hello["protocol"] = 2
    server.operations["hello"] = lambda _: hello
    for line in sys.stdin:
        request = json.loads(line)
        right: Answer = {"id": request["id"], **server.answer(request)}
        answer: str | Answer = right
        if request["op"] == "call" and request["name"] == "length" and request["args"] == ["i64:13"]:
            answer = break_now(right)
        sys.stdout.write((answer if isinstance(answer, str) else json.dumps(answer)) + "\n")
        sys.stdout.flush()
    if FAULT == "exit-code":
        sys.exit(1)
    if FAULT == "ignores-the-end":
        time.sleep(3600)


main()
