"""Checks answers against the protocol: by the schema, and without it where a glance is enough."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.base.schema import load_check

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

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
    "batch",
)
SDK_OPERATIONS = ("load", "invoke", "together", "unload", "time")

Answer = Mapping[str, Any]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}").fullmatch
_HEX_DIGITS = re.compile(r"[0-9a-f]*").fullmatch
_PLAIN_VALUE = re.compile(r"i(?:32|64):(?:0|[1-9][0-9]{0,19})").fullmatch


def check_answer(op: str, answer: Answer, *, in_batch: bool) -> None:
    """Raise AdapterFault for an answer that breaks the schema; one in a batch has no id."""
    plain: Answer
    if not in_batch:
        plain = {key: value for key, value in answer.items() if key != "id"}
    elif "id" in answer:
        raise _broken(op, "an answer in a batch has no id of its own")
    else:
        plain, answer = answer, {**answer, "id": 0}
    if _is_plain(op, plain):
        return
    result = answer.get("result")
    # A tuple, because what came may be a list or an object, which no set can be asked about.
    definition = result if result in ("error", "unsupported") else f"answer-{op}"
    if op not in (*OPERATIONS, *SDK_OPERATIONS) and definition == f"answer-{op}":
        message = f"the unknown operation `{op}` must be answered `unsupported`, got {result!r}"
        raise AdapterFault("adapter-answer", message)
    for fault in load_check(_schema_of(str(definition)), str(definition))(answer, ""):
        raise _broken(op, fault)


def check_batch(answer: Answer, count: int) -> Sequence[Answer]:
    """Return the answers in the answer to a batch. Raises AdapterFault if they are not as many as asked."""
    if answer.get("result") == "error":
        check_answer("batch", answer, in_batch=False)
        raise_if_error("batch", answer)
    answers = answer.get("answers")
    if len(answer) != 3 or answer.get("result") != "ok" or not isinstance(answers, list):
        for fault in load_check("protocol.schema.json", "answer-batch")(answer, ""):
            raise _broken("batch", fault)
        raise _broken("batch", "it is no list of answers")
    if len(answers) != count:
        raise _broken("batch", f"{count} operations have {len(answers)} answers")
    if set(map(type, answers)) - {dict}:
        raise _broken("batch", "an answer in it is no object")
    return answers


def raise_if_error(op: str, answer: Answer) -> None:
    """Raise AdapterFault if the adapter says that it failed."""
    if answer["result"] == "error":
        raise AdapterFault("adapter-error", f"`{op}` failed inside the adapter: {answer['message']}")


def replace_surrogates(answer: object) -> object:
    """Return an answer with `?` for each half of a surrogate pair, which no report in UTF-8 can hold."""
    replaced: object = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    return replaced


def _is_plain(op: str, answer: Answer) -> bool:
    """Return whether this is one of the answers that nearly all are, and as the schema has it."""
    if answer.get("result") != "ok":
        return False
    if op == "call":
        values = answer.get("values")
        if len(answer) != 2 and not (len(answer) == 3 and _is_text(answer.get("used"), _NUMBER)):
            return False
        return isinstance(values, list) and (
            not values or (len(values) == 1 and _is_text(values[0], _PLAIN_VALUE))
        )
    if op == "read":
        data = answer.get("bytes")
        return len(answer) == 2 and _is_text(data, _HEX_DIGITS) and len(data) % 2 == 0
    return len(answer) == 1 and op in {"write", "drop", "instantiate"}


def _is_text(value: object, matches: Callable[[str], object]) -> TypeGuard[str]:
    return isinstance(value, str) and matches(value) is not None


def _broken(op: str, fault: str) -> AdapterFault:
    return AdapterFault("adapter-answer", f"the answer to `{op}` breaks the protocol: {fault}")


def _schema_of(definition: str) -> str:
    is_sdk = definition.removeprefix("answer-") in SDK_OPERATIONS
    return "sdk-protocol.schema.json" if is_sdk else "protocol.schema.json"
