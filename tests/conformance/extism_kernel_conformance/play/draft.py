"""The rounds of a `cut` as batches: made once, sent for each amount of fuel, judged where answers are new."""

from __future__ import annotations

import json
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.answers import check_answer, raise_if_error
from extism_kernel_conformance.adapter.connection import (
    FULL_BATCH,
    MOST_IN_BATCH,
    Connection,
    Operation,
    Reference,
    size_of,
)
from extism_kernel_conformance.base.outcome import CaseFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Fields, OnAnswer

FUEL = "the fuel of the round"
"""Stands in a draft for the number that every round has of its own."""

_MOST_KEPT = 16


class NeedsAnswerError(Exception):
    """What comes next depends on an answer as no reference can say, or is too much for one batch."""


class Draft(Connection):
    """Takes the operations of one round in place of a connection, and answers none of them."""

    has_batches = True

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._size = 0

    def send(self, op: str, fields: Fields, on_answer: OnAnswer) -> Reference:
        """Add an operation. Raises NeedsAnswerError if the batch becomes too long."""
        self._size += size_of(fields)
        if len(self.operations) >= MOST_IN_BATCH or self._size > FULL_BATCH:
            raise NeedsAnswerError
        self.operations.append(Operation(op, fields, on_answer))
        return Reference(0, len(self.operations) - 1)

    def refer(self, reference: Reference | None, factor: int, offset: int) -> str | None:
        """Return how a later operation writes an earlier one's value."""
        return None if reference is None else reference.write(factor, offset)

    @property
    def is_idle(self) -> bool:
        """Always false: what is sent here is never answered."""
        return False

    def settle_next(self) -> None:
        """Raise NeedsAnswerError: there is no answer."""
        raise NeedsAnswerError

    def settle(self) -> None:
        """Raise NeedsAnswerError: there is no answer."""
        raise NeedsAnswerError


def play_rounds(connection: Connection, draft: Draft, fuels: range) -> int:
    """Play a round for each amount of fuel until the call returns; return that amount, or the last.

    The round in which the call returned is not judged. Raises CaseFailed with the amount that showed it.
    """
    rounds = _Rounds(draft.operations)
    connection.flush()  # it may bring the module, which the draft then only names
    before, _, after = connection.encode(draft.operations).partition(json.dumps(FUEL))
    for fuel in fuels:
        if rounds.returned_at is not None:
            break
        text = f'{before}"{fuel}"{after}'
        connection.send_batch(text, draft.operations, partial(rounds.judge, fuel))
    connection.settle()
    return fuels[-1] if rounds.returned_at is None else rounds.returned_at


class _Rounds:
    """Judges the answers of rounds; those that were seen before, and passed, need no second look."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._cut = next(i for i, each in enumerate(operations) if each.fields.get("fuel") == FUEL)
        self._passed: deque[Sequence[Answer]] = deque(maxlen=_MOST_KEPT)
        self.returned_at: int | None = None

    def judge(self, fuel: int, answers: Sequence[Answer]) -> None:
        """Take the answers of one round. Rounds sent ahead of the answer that ended it all are not judged."""
        if self.returned_at is not None or answers in self._passed:
            return
        if answers[self._cut].get("result") == "ok":
            self.returned_at = fuel
            return
        try:
            for operation, answer in zip(self._operations, answers, strict=True):
                check_answer(operation.op, answer, in_batch=True)
                raise_if_error(operation.op, answer)
                operation.on_answer(answer)
        except CaseFailed as failure:
            failure.where = f"{failure.where}, after a cut at fuel {fuel}"
            raise
        self._passed.append(answers)
