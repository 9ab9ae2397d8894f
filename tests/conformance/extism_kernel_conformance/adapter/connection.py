"""Protocol 1 over one adapter process: ids, order, batches, sending ahead, and the trace for `replay`."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from extism_kernel_conformance.adapter.answers import (
    Answer,
    check_answer,
    check_batch,
    raise_if_error,
    replace_surrogates,
)
from extism_kernel_conformance.adapter.process import LONGEST_LINE, AdapterFault, AdapterProcess

PROTOCOL = 1
MOST_IN_FLIGHT = 256
"""Operations under way on lines of their own."""
BATCHES_IN_FLIGHT = 4
MOST_IN_BATCH = 1024
_FIRST_BATCH = 32
_QUICK_SECONDS, _SLOW_SECONDS = 0.1, 1.0
"""A batch answered sooner lets the next be larger, one answered later makes it smaller."""
FULL_BATCH = LONGEST_LINE // 4
"""Characters after which a batch is sent: with one more operation of the largest size it is still a line."""

Fields = Mapping[str, object]
OnAnswer = Callable[[Answer], None]
OnAnswers = Callable[[Sequence[Answer]], None]

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)  # not frozen, here and below: made so often that it shows
class Reference:
    """Where an operation stands in the batch that is being made."""

    batch: int
    place: int

    def write(self, factor: int, offset: int) -> str:
        """Return how a later operation writes the value of this one, times a factor, plus an offset."""
        times = "" if factor == 1 else f"*{factor}"
        return f"@{self.place}{times}+{offset}" if offset else f"@{self.place}{times}"


@dataclass(slots=True)
class Operation:
    """One operation and the function that waits for its answer."""

    op: str
    fields: Fields
    on_answer: OnAnswer


@dataclass(frozen=True, slots=True)
class _Sent:
    """One line that was sent: a single operation, or a batch."""

    id: int
    operations: Sequence[Operation]
    is_batch: bool
    at: float
    on_answers: OnAnswers | None = None


class Connection:
    """Sends requests and hands each answer, validated, to the function that waits for it.

    Answers come in the order of the requests. Every fault of the adapter raises AdapterFault; after one the
    process is of no more use. Once `enable` allows batches, operations are gathered and travel together.
    """

    has_batches = False
    """Whether operations travel in batches, so that one may refer to the value of another before it."""
    batch = 0
    """Number of the batch that is being made; a reference is good until it changes."""

    def __init__(
        self, process: AdapterProcess, *, timeout: float, trace: Callable[[str, Fields], None] | None = None
    ) -> None:
        self.process = process
        self.timeout = timeout
        self.trace = trace
        self._has_digests = False
        self._digests: dict[str, str] = {}
        """Digest of each module the adapter holds, by its bytes in hex."""
        self._next_id = 1
        self._open: list[Operation] = []
        self._open_size = 0
        self.batch = 0
        self._most = _FIRST_BATCH
        self._sent: deque[_Sent] = deque()
        self._waiting: deque[tuple[Operation, Answer]] = deque()
        self._received_at = 0.0

    def enable(self, capabilities: frozenset[str]) -> None:
        """Use what the adapter declares of `batch` and `modules`; a trace shows every operation alone."""
        self.has_batches = "batch" in capabilities and self.trace is None
        self._has_digests = "modules" in capabilities and self.trace is None

    def send(self, op: str, fields: Fields, on_answer: OnAnswer) -> Reference | None:
        """Send one operation, or add it to the batch; `on_answer` runs when its answer is settled, in order.

        Returns what `refer` needs, None if no later operation can refer to this one.
        """
        operation = Operation(op, fields, on_answer)
        if not self.has_batches:
            while len(self._sent) >= MOST_IN_FLIGHT:
                self.settle_next()
            self._send_single(operation)
            return None
        self._open.append(operation)
        reference = Reference(self.batch, len(self._open) - 1)
        if op != "call":
            self._open_size += size_of(fields)
        if len(self._open) >= self._most or self._open_size >= FULL_BATCH:
            self.flush()
        return reference

    def refer(self, reference: Reference | None, factor: int, offset: int) -> str | None:
        """Return how an operation sent now writes an earlier one's value times `factor` plus `offset`.

        None if the two would not travel in one batch.
        """
        if reference is None or reference.batch != self.batch:
            return None
        return reference.write(factor, offset)

    def ask(self, op: str, **fields: object) -> Answer:
        """Send one request and return its answer, after those of all requests before it."""
        answers: list[Answer] = []
        self.send(op, fields, answers.append)
        self.settle()
        return answers[0]

    def flush(self) -> None:
        """Send the batch that is being made, if there is one."""
        operations, self._open, self._open_size = self._open, [], 0
        self.batch += 1
        while len(self._sent) >= BATCHES_IN_FLIGHT:
            self._receive_next()
        if len(operations) == 1:
            self._send_single(operations[0])
        elif operations:
            self._send_batch(self.encode(operations), operations, None)

    def encode(self, operations: Sequence[Operation]) -> str:
        """Return the text of a batch's operations, a JSON array."""
        return _encode([{"op": each.op, **self._named(each)} for each in operations])

    def send_batch(self, text: str, operations: Sequence[Operation], on_answers: OnAnswers) -> None:
        """Send a batch whose text is made; `on_answers` gets its answers all at once, not yet validated."""
        self.flush()
        while len(self._sent) >= BATCHES_IN_FLIGHT:
            self.settle_next()
        self._send_batch(text, operations, on_answers)

    def settle_next(self) -> None:
        """Hand over the oldest answer that is due, waiting for it if need be."""
        if not self._waiting:
            if not self._sent:
                self.flush()
            sent = self._sent[0]
            if sent.on_answers is not None:
                sent.on_answers(self._receive(sent))
                return
            self._receive_next()
        operation, answer = self._waiting.popleft()
        self._forget_rejected(operation, answer)
        raise_if_error(operation.op, answer)
        operation.on_answer(answer)

    def settle(self) -> None:
        """Wait for all open answers."""
        while not self.is_idle:
            self.settle_next()

    def discard(self) -> None:
        """Wait for all open answers without looking at what they say; the protocol still binds them."""
        self._open.clear()
        self.batch += 1
        for operation, answer in self._waiting:
            self._forget_rejected(operation, answer)
        self._waiting.clear()
        while self._sent:
            sent = self._sent[0]
            for operation, answer in zip(sent.operations, self._receive(sent), strict=True):
                self._forget_rejected(operation, answer)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is due."""
        return not (self._waiting or self._sent or self._open)

    def _named(self, operation: Operation) -> Fields:
        """Return the fields of an operation, with a digest in place of a module that the adapter holds."""
        if operation.op != "instantiate" or not self._has_digests:
            return operation.fields
        module = str(operation.fields["module"])
        digest = self._digests.get(module)
        if digest is not None:
            return {"instance": operation.fields["instance"], "digest": digest}
        digest = self._digests[module] = hashlib.sha256(bytes.fromhex(module)).hexdigest()
        return {**operation.fields, "digest": digest}

    def _send_single(self, operation: Operation) -> None:
        request = {"id": self._next_id, "op": operation.op, **self._named(operation)}
        if self.trace is not None:
            self.trace("request", request)
        self._send_line(_encode(request), [operation], is_batch=False)

    def _send_batch(self, text: str, operations: Sequence[Operation], on_answers: OnAnswers | None) -> None:
        line = f'{{"id":{self._next_id},"op":"batch","operations":{text}}}'
        self._send_line(line, operations, is_batch=True, on_answers=on_answers)

    def _send_line(
        self,
        line: str,
        operations: Sequence[Operation],
        *,
        is_batch: bool,
        on_answers: OnAnswers | None = None,
    ) -> None:
        data = line.encode() + b"\n"
        assert len(data) <= LONGEST_LINE, "the runner cuts reads, writes and batches before they come here"
        self._sent.append(_Sent(self._next_id, operations, is_batch, time.monotonic(), on_answers))
        self._next_id += 1
        self.process.send(data)

    def _receive_next(self) -> None:
        sent = self._sent[0]
        if sent.on_answers is not None:
            sent.on_answers(self._receive(sent))
            return
        answers = self._receive(sent)
        self._waiting.extend(zip(sent.operations, answers, strict=True))
        for operation, answer in zip(sent.operations, answers, strict=True):
            check_answer(operation.op, answer, in_batch=sent.is_batch)

    def _receive(self, sent: _Sent) -> Sequence[Answer]:
        """Return the answers of the oldest line, with what the protocol says of all answers checked."""
        answer = self._read_answer(sent)
        self._sent.popleft()
        if not sent.is_batch:
            return (answer,)
        now = time.monotonic()
        seconds, self._received_at = now - max(sent.at, self._received_at), now
        if seconds < _QUICK_SECONDS:
            self._most = min(2 * self._most, MOST_IN_BATCH)
        elif seconds > _SLOW_SECONDS:
            self._most = max(self._most // 4, 1)
        return check_batch(answer, len(sent.operations))

    def _read_answer(self, sent: _Sent) -> Answer:
        line = self.process.receive(self.timeout)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise AdapterFault("adapter-garbage", f"expected one line of JSON, got {_shown(line)}") from None
        if b"\\u" in line:
            answer = replace_surrogates(answer)
        if self.trace is not None:
            self.trace("answer", answer if isinstance(answer, dict) else {"line": answer})
        if not isinstance(answer, dict):
            raise AdapterFault("adapter-garbage", f"an answer is an object, got {_shown(line)}")
        if answer.get("id") != sent.id or isinstance(answer.get("id"), bool):
            op = "batch" if sent.is_batch else sent.operations[0].op
            raise AdapterFault(
                "adapter-wrong-id", f"`{op}` was request {sent.id}, the answer has id {answer.get('id')!r}"
            )
        return answer

    def _forget_rejected(self, operation: Operation, answer: Answer) -> None:
        """Send a module that did not compile whole again: the adapter need not hold it."""
        if operation.op == "instantiate" and answer.get("result") != "ok":
            self._digests.pop(str(operation.fields["module"]), None)


def size_of(fields: Fields) -> int:
    """Return about how many characters an operation and its answer take, where that can be many."""
    length = fields.get("length", 0)
    texts = sum(len(str(fields.get(name, ""))) for name in ("bytes", "module"))
    return texts + (2 * length if isinstance(length, int) else 0)


def _shown(line: bytes) -> str:
    return repr(line[:80]) + ("..." if len(line) > 80 else "")
