"""Protocol 1 over one adapter process: ids, order, schema, pipelining, and the trace for `replay`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from extism_kernel_conformance.adapter.process import LONGEST_LINE, AdapterFault, AdapterProcess
from extism_kernel_conformance.base.schema import load_check

PROTOCOL = 1
OPERATIONS = (
    "hello",
    "instantiate",
    "call",
    "read",
    "write",
    "size",
    "grow",
    "global_get",
    "exports",
    "drop",
)
SDK_OPERATIONS = ("load", "invoke", "unload", "time")
MOST_IN_FLIGHT = 256

Answer = Mapping[str, Any]
Fields = Mapping[str, object]
OnAnswer = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class _Pending:
    id: int
    op: str
    on_answer: OnAnswer


class Connection:
    """Sends requests and hands each answer, validated, to the function that waits for it.

    Answers come in the order of the requests. Every fault of the adapter raises AdapterFault; after one the
    process is of no more use.
    """

    def __init__(
        self, process: AdapterProcess, *, timeout: float, trace: Callable[[str, Fields], None] | None = None
    ) -> None:
        self.process = process
        self.timeout = timeout
        self.trace = trace
        self._next_id = 1
        self._pending: deque[_Pending] = deque()

    def send(self, op: str, fields: Fields, on_answer: OnAnswer) -> None:
        """Send one request; `on_answer` runs when its answer is settled, in order."""
        while len(self._pending) >= MOST_IN_FLIGHT:
            self.settle_next()
        request = {"id": self._next_id, "op": op, **fields}
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        assert len(line) <= LONGEST_LINE, "the runner cuts reads and writes before they come here"
        self._pending.append(_Pending(self._next_id, op, on_answer))
        self._next_id += 1
        if self.trace is not None:
            self.trace("request", request)
        self.process.send(line)

    def ask(self, op: str, **fields: object) -> Answer:
        """Send one request and return its answer, after those of all requests before it."""
        answers: list[Answer] = []
        self.send(op, fields, answers.append)
        self.settle()
        return answers[0]

    def settle_next(self) -> None:
        """Wait for the oldest open answer and hand it over."""
        pending = self._pending[0]
        answer = self._receive(pending)
        self._pending.popleft()
        pending.on_answer(answer)

    def settle(self) -> None:
        """Wait for all open answers."""
        while self._pending:
            self.settle_next()

    def discard(self) -> None:
        """Wait for all open answers without looking at what they say; the protocol still binds them."""
        while self._pending:
            self._receive(self._pending[0])
            self._pending.popleft()

    @property
    def is_idle(self) -> bool:
        """Whether no answer is due."""
        return not self._pending

    def _receive(self, pending: _Pending) -> Answer:
        line = self.process.receive(self.timeout)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise AdapterFault("adapter-garbage", f"expected one line of JSON, got {_shown(line)}") from None
        if b"\\u" in line:
            answer = _mend_surrogates(answer)
        if self.trace is not None:
            self.trace("answer", answer if isinstance(answer, dict) else {"line": answer})
        if not isinstance(answer, dict):
            raise AdapterFault("adapter-garbage", f"an answer is an object, got {_shown(line)}")
        if answer.get("id") != pending.id or isinstance(answer.get("id"), bool):
            found = answer.get("id")
            raise AdapterFault(
                "adapter-wrong-id", f"`{pending.op}` was request {pending.id}, the answer has id {found!r}"
            )
        result = answer.get("result")
        # A tuple, because what came may be a list or an object, which no set can be asked about.
        definition = result if result in ("error", "unsupported") else f"answer-{pending.op}"
        if pending.op not in (*OPERATIONS, *SDK_OPERATIONS) and definition == f"answer-{pending.op}":
            message = f"the unknown operation `{pending.op}` must be answered `unsupported`, got {result!r}"
            raise AdapterFault("adapter-answer", message)
        for fault in load_check(_schema_of(str(definition)), str(definition))(answer, ""):
            raise AdapterFault("adapter-answer", f"the answer to `{pending.op}` breaks the protocol: {fault}")
        if result == "error":
            raise AdapterFault(
                "adapter-error", f"`{pending.op}` failed inside the adapter: {answer['message']}"
            )
        return answer


def _mend_surrogates(answer: object) -> object:
    """Return an answer with `?` for each half of a surrogate pair, which no report in UTF-8 can hold."""
    mended: object = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    return mended


def _shown(line: bytes) -> str:
    return repr(line[:80]) + ("..." if len(line) > 80 else "")


def _schema_of(definition: str) -> str:
    is_sdk = definition.removeprefix("answer-") in SDK_OPERATIONS
    return "sdk-protocol.schema.json" if is_sdk else "protocol.schema.json"
