"""What lint and the trials of capabilities stand on: the modules of lint/, and single operations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.answers import check_answer
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.base.resources import suite_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Connection, Fields

PAGE = 65536
LARGEST_U64 = 2**64 - 1


@cache
def lint_module(name: str) -> str:
    """Return a module of lint/ in hex; the source in text form lies beside it."""
    return (suite_root() / "lint" / f"{name}.hex").read_text(encoding="ascii").strip()


class Examiner:
    """One fresh instance of the lint module, and questions to it that raise CaseFailed on a wrong answer."""

    def __init__(self, connection: Connection, declared: frozenset[str], name: str) -> None:
        self.connection = connection
        self.declared = declared
        self._name = name
        self._live: list[str] = []
        self._made = 0
        self.instance = self.instantiate("operations")

    def instantiate(self, module: str) -> str:
        """Make an instance of a module of lint/, and return its name."""
        answer, name = self._try(module)
        self.require(answer["result"] == "ok", f"`{module}` instantiates", answer["result"])
        self._live.append(name)
        return name

    def instantiate_named(self, digest: str, module: bytes | None = None) -> str:
        """Make an instance of a module that is given with its digest, or named by the digest alone."""
        self._made += 1
        name = f"{self._name}-{self._made}"
        fields = {} if module is None else {"module": module.hex()}
        answer = self.connection.ask("instantiate", instance=name, digest=digest, **fields)
        self.require(answer["result"] == "ok", f"module {digest[:12]} instantiates", answer["result"])
        self._live.append(name)
        return name

    def expect_batch(self, expected: Sequence[tuple[Fields, Fields]]) -> None:
        """Require that each operation of a batch, the first of a pair, is answered with the second."""
        answers = self.connection.ask("batch", operations=[operation for operation, _ in expected])["answers"]
        self.require(len(answers) == len(expected), f"{len(expected)} answers", str(len(answers)))
        for number, ((operation, wanted), answer) in enumerate(zip(expected, answers, strict=True)):
            place = f"operations[{number}], `{operation['op']}`"
            check_answer(str(operation["op"]), answer, in_batch=True)
            for key, value in {"result": "ok", **wanted}.items():
                self.require(answer.get(key) == value, f"{place}: {key} {value}", str(answer.get(key)))

    def expect_reject(self, module: str, stage: str) -> None:
        """Require that a module is rejected at a stage."""
        answer, name = self._try(module)
        if answer["result"] == "ok":
            self._live.append(name)
        got = f"reject at {answer['stage']}" if answer["result"] == "reject" else answer["result"]
        self.require(got == f"reject at {stage}", f"reject at {stage}", got)

    def expect_call(
        self, name: str, args: list[str], values: list[str], *, instance: str | None = None
    ) -> None:
        """Require that a call returns these values."""
        answer = self.connection.ask("call", instance=instance or self.instance, name=name, args=args)
        got = str(answer["values"]) if answer["result"] == "ok" else _shown(answer)
        self.require(got == str(values), f"{name}({', '.join(args)}) returns {values}", got)

    def expect_trap(self, name: str, args: list[str], kind: str, **fields: object) -> None:
        """Require that a call traps with a kind."""
        answer = self.connection.ask("call", instance=self.instance, name=name, args=args, **fields)
        self.require(_shown(answer) == f"trap {kind}", f"{name} traps: {kind}", _shown(answer))

    def expect_used(self, name: str, args: list[str], *, at_least: int, fuel: int) -> int:
        """Require that a call says how much fuel it used, within bounds, and return that."""
        fields = {"instance": self.instance, "name": name, "args": args, "fuel": str(fuel)}
        answer = self.connection.ask("call", **fields)
        used = int(answer.get("used", -1))
        wanted = f"{name}({', '.join(args)}) to use {at_least} to {fuel} fuel"
        self.require(at_least <= used <= fuel, wanted, str(used) if used >= 0 else _shown(answer))
        return used

    def write(self, address: int, data: str) -> None:
        """Write bytes that must fit."""
        answer = self.connection.ask("write", instance=self.instance, address=str(address), bytes=data)
        self.require(answer["result"] == "ok", f"write at {address}", _shown(answer))

    def expect_bytes(self, address: int, data: str, *, instance: str | None = None) -> None:
        """Require that memory holds these bytes."""
        length = len(data) // 2
        answer = self.connection.ask(
            "read", instance=instance or self.instance, address=str(address), length=length
        )
        got = answer["bytes"] if answer["result"] == "ok" else _shown(answer)
        self.require(got == data, f"{length} bytes at {address}: {data[:32]}", got[:32])

    def expect_refused(self, op: str, address: int, **fields: object) -> None:
        """Require that a read or write answers with the trap `out-of-bounds`."""
        answer = self.connection.ask(op, instance=self.instance, address=str(address), **fields)
        self.require(_shown(answer) == "trap out-of-bounds", f"{op} at {address} is refused", _shown(answer))

    def expect_size(self, pages: int) -> None:
        """Require a number of pages."""
        answer = self.connection.ask("size", instance=self.instance)
        self.require(
            answer.get("pages") == pages, f"{pages} pages", str(answer.get("pages", answer["result"]))
        )

    def expect_grow(self, pages: int, old: int) -> None:
        """Require that growth from outside answers with the old size, -1 if it has to be refused."""
        answer = self.connection.ask("grow", instance=self.instance, pages=pages)
        got = str(answer.get("pages", answer["result"]))
        self.require(got == str(old), f"growth by {pages} answers {old}", got)

    def expect_null_global(self, instance: str, name: str) -> None:
        """Require that a global holds the null reference."""
        answer = self.connection.ask("global_get", instance=instance, name=name)
        self.require(answer.get("value") == "externref:null", "externref:null", str(answer.get("value")))

    def drop(self, name: str) -> None:
        """Let an instance go."""
        self._live.remove(name)
        answer = self.connection.ask("drop", instance=name)
        self.require(answer["result"] == "ok", "drop", answer["result"])

    def drop_all(self) -> None:
        """Let every instance go."""
        for name in list(self._live):
            self.drop(name)

    def require(self, holds: object, expected: str, got: str) -> None:
        """Raise CaseFailed unless something holds."""
        if not holds:
            raise CaseFailed(where=self._name, expected=expected, got=got)

    def _try(self, module: str) -> tuple[Answer, str]:
        self._made += 1
        name = f"{self._name}-{self._made}"
        return self.connection.ask("instantiate", instance=name, module=lint_module(module)), name


def _shown(answer: Answer) -> str:
    result = str(answer["result"])
    if result == "trap":
        return f"trap {answer['kind']}"
    return f"returned {answer['values']}" if result == "ok" and "values" in answer else result
