"""The lines-of-JSON half of an adapter, for runtimes that Python can load.

`serve` needs a function that compiles, a class for instances, and the runtime's exception for traps; the
suite's README has such an adapter in ten lines. An adapter may as well speak the protocol itself: nothing
depends on this.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from extism_kernel_conformance.adapter.typed_values import parameters_of, result_of
from extism_kernel_conformance.wasm.module import parse_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Module = TypeVar("Module")

_KINDS = (
    ("unreachable", r"unreachable"),
    ("out-of-bounds", r"out[ -]of[ -]bounds"),
    ("integer", r"divi|integer|overflow"),
    ("stack", r"stack"),
)


_REFERENCE = re.compile(r"@(\d+)(?:\*(\d+))?(?:\+(\d+))?")


class Instance(Protocol):
    """One instance of a module in the runtime."""

    def call(self, name: str, args: Sequence[int]) -> int | None:
        """Call an export with signed integers, and return its result as a signed or unsigned integer."""

    def memory(self) -> Any:  # noqa: ANN401 - Python 3.10 has no type for what memoryview takes
        """Return the exported memory as a writable buffer; it is asked for anew in each request."""


def find_trap_kind(error: BaseException) -> str:
    """Return the protocol's kind of a trap, going by the words of the runtime's message."""
    text = str(error).lower()
    return next((kind for kind, pattern in _KINDS if re.search(pattern, text)), "other")


def serve(
    compile_module: Callable[[bytes], Module],
    instantiate: Callable[[Module], Instance],
    *,
    trap: type[BaseException],
    runtime: str,
    version: str = "unknown",
    capabilities: Sequence[str] = (),
    trap_kind: Callable[[BaseException], str] = find_trap_kind,
) -> None:
    """Answer every request on standard input until it ends.

    An exception of `compile_module` is a rejection when compiling. One of `instantiate` is a rejection when
    starting if it is a trap, else when linking. `trap` from a call is a trap of the kind that `trap_kind`
    names.
    """
    server = _Server(compile_module, instantiate, trap, trap_kind)
    hello = {"protocol": 1, "adapter": "adapter-kit", "runtime": runtime, "version": version}
    server.operations["hello"] = lambda _: {**hello, "capabilities": [*capabilities, "batch", "modules"]}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **server.answer(request)}), flush=True)


class _Server:
    def __init__(
        self,
        compile_module: Callable[[bytes], Any],
        instantiate: Callable[[Any], Instance],
        trap: type[BaseException],
        trap_kind: Callable[[BaseException], str],
    ) -> None:
        self._compile = compile_module
        self._make = instantiate
        self._trap = trap
        self._trap_kind = trap_kind
        self._live: dict[str, tuple[Instance, Mapping[str, str]]] = {}
        self._modules: dict[str, tuple[Any, Mapping[str, str]]] = {}
        self._results: list[dict[str, Any]] = []
        """The answers so far of the batch at hand."""
        self.operations: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "instantiate": self._instantiate,
            "call": self._call,
            "read": self._read,
            "write": self._write,
            "size": lambda request: {"pages": len(self._view(request)) // 65536},
            "drop": self._drop,
            "batch": self._batch,
        }

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, all but its id."""
        operation = self.operations.get(request["op"])
        if operation is None:
            return {"result": "unsupported"}
        try:
            return {"result": "ok", **operation(request)}
        except Exception as error:  # noqa: BLE001 - the runner is told, and the adapter lives on
            return {"result": "error", "message": f"{type(error).__name__}: {error}"}

    def _batch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._results = []
        for operation in request["operations"]:
            self._results.append(self.answer(operation))
        return {"answers": self._results}

    def _number(self, text: str) -> int:
        """Return a number as it stands there, or one that refers to an earlier answer in the batch."""
        if not text.startswith("@"):
            return int(text)
        place, factor, offset = _REFERENCE.findall(text)[0]
        answer = self._results[int(place)]
        value = int(answer["values"][0].partition(":")[2]) if "values" in answer else answer["pages"]
        return (value * int(factor or 1) + int(offset or 0)) % (1 << 64)

    def _instantiate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        digest, stage = request.get("digest"), "compile"
        held = None if "module" in request else self._modules[request["digest"]]
        try:
            if held is None:
                code = bytes.fromhex(request["module"])
                held = self._compile(code), parse_kernel(code).exports
                if digest is not None:
                    self._modules[digest] = held
            stage = "link"
            instance = self._make(held[0])
        except Exception as error:  # noqa: BLE001 - the refusals of runtimes have no class in common
            stage = "start" if isinstance(error, self._trap) else stage
            return {"result": "reject", "stage": stage, "message": str(error)}
        self._live[request["instance"]] = instance, held[1]
        return {}

    def _call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        instance, types = self._live[request["instance"]]
        signature = types[request["name"]]
        given = [self._number(value.partition(":")[2]) for value in request["args"]]
        args = [_signed(value, kind) for value, kind in zip(given, parameters_of(signature), strict=True)]
        try:
            value = instance.call(request["name"], args)
        except self._trap as error:
            return {"result": "trap", "kind": self._trap_kind(error), "message": str(error)}
        kind = result_of(signature)
        return {"values": [] if kind is None else [f"{kind}:{(value or 0) % (1 << int(kind[1:]))}"]}

    def _read(self, request: Mapping[str, Any]) -> dict[str, Any]:
        memory, start = self._view(request), self._number(request["address"])
        end = start + request["length"]
        return {"bytes": memory[start:end].hex()} if end <= len(memory) else _PAST_THE_END

    def _write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        memory, start, data = (
            self._view(request),
            self._number(request["address"]),
            bytes.fromhex(request["bytes"]),
        )
        if start + len(data) > len(memory):
            return _PAST_THE_END
        memory[start : start + len(data)] = data
        return {}

    def _drop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del self._live[request["instance"]]
        return {}

    def _view(self, request: Mapping[str, Any]) -> memoryview:
        return memoryview(self._live[request["instance"]][0].memory()).cast("B")


_PAST_THE_END = {"result": "trap", "kind": "out-of-bounds", "message": "past the end of memory"}


def _signed(value: int, kind: str) -> int:
    bits = int(kind[1:])
    value %= 1 << bits  # a reference gives 64 bits
    return value - (1 << bits) if value >> (bits - 1) else value
