"""A kernel inside this process: the same cases, without a pipe to an adapter between."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import wasmtime
from extism_kernel_conformance.adapter.connection import Connection, Fields, OnAnswer
from extism_kernel_conformance.adapter.typed_values import parameters_of, result_of
from extism_kernel_conformance.base.outcome import CaseFailed

from .meter import METER, WEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_conformance.adapter.answers import Answer

PAGE = 65536
MOST_FUEL = 4_000_000
"""Instructions that a call may take: more than any case needs, less than a person waits for."""

_BITS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}


class _Instance:
    """One instance, its memory, its meter, and the functions called so far."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory, meter, weight = (self.exports[name] for name in ("memory", METER, WEIGHT))
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(meter, wasmtime.Global)
        assert isinstance(weight, wasmtime.Global)
        self.memory, self.meter, self.weight = memory, meter, weight
        self.functions: dict[str, wasmtime.Func] = {}

    def size(self) -> int:
        return self.memory.data_len(self.store)


class Subject(Connection):
    """Answers requests at once, in this process, with wasmtime. Its modules are metered: fuel is exact."""

    def __init__(self, signatures: Mapping[str, str]) -> None:
        config = wasmtime.Config()
        config.cranelift_opt_level = "none"
        self._engine = wasmtime.Engine(config)
        self._types = {name: (parameters_of(text), result_of(text)) for name, text in signatures.items()}
        self._modules: dict[str, wasmtime.Module] = {}
        self._instances: dict[str, _Instance] = {}
        self.on_answer: Callable[[str, Fields, Answer], None] | None = None
        """Told of every request and its answer."""
        self.deadline = math.inf
        """When, by `time.process_time`, a case has taken too long."""
        self.counts_bytes = False
        """Whether a call with a limit pays for each byte that it fills or copies."""
        self._answer: Mapping[str, Callable[[Any], Answer]] = {
            "instantiate": self._instantiate,
            "call": self._call,
            "read": self._read,
            "write": self._write,
            "size": lambda fields: _ok(pages=self._instances[fields["instance"]].size() // PAGE),
            "grow": self._grow,
            "global_get": lambda _: _ok(value="externref:null"),
            "drop": self._drop,
        }

    def forget(self) -> None:
        """Let go of all modules, and of instances that a failed case left behind."""
        self._modules.clear()
        self._instances.clear()

    def is_valid(self, module: bytes) -> bool:
        """Return whether the bytes are a module."""
        try:
            wasmtime.Module.validate(self._engine, module)
        except wasmtime.WasmtimeError:
            return False
        return True

    def send(self, op: str, fields: Fields, on_answer: OnAnswer) -> None:
        """Answer one request before returning. Raises CaseFailed after the deadline."""
        if time.process_time() > self.deadline:
            raise CaseFailed(where=op, expected="an end in time", got="none")
        answer = self._answer[op](fields)
        if self.on_answer is not None:
            self.on_answer(op, fields, answer)
        on_answer(answer)

    def settle_next(self) -> None:
        """Do nothing: no answer is ever due."""

    def settle(self) -> None:
        """Do nothing: no answer is ever due."""

    def discard(self) -> None:
        """Do nothing: no answer is ever due."""

    @property
    def is_idle(self) -> bool:
        """Always true."""
        return True

    def _instantiate(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        text = fields["module"]
        try:
            if text not in self._modules:
                self._modules[text] = wasmtime.Module(self._engine, bytes.fromhex(text))
            self._instances[fields["instance"]] = _Instance(self._engine, self._modules[text])
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            return {"result": "reject", "stage": "compile", "message": str(error)}
        return _ok()

    def _drop(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        self._instances.pop(fields["instance"], None)
        return _ok()

    def _call(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance, name = self._instances[fields["instance"]], fields["name"]
        function = instance.functions.get(name)
        if function is None:
            found = instance.exports[name]
            assert isinstance(found, wasmtime.Func)
            function = instance.functions[name] = found
        args = [int(arg.partition(":")[2]) for arg in fields["args"]]
        fuel = int(fields.get("fuel", MOST_FUEL))
        instance.meter.set_value(instance.store, fuel)
        instance.weight.set_value(instance.store, int(self.counts_bytes and "fuel" in fields))
        try:
            result = function(instance.store, *args)
        except wasmtime.Trap as trap:
            return {"result": "trap", "kind": _kind(trap, instance), "message": trap.message}
        kind = self._types[name][1]
        values = [] if kind is None else [f"{kind}:{result & _BITS[kind]}"]
        return _ok(values=values, used=fuel - instance.meter.value(instance.store))

    def _read(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance, start = self._instances[fields["instance"]], int(fields["address"])
        end = start + fields["length"]
        if end > instance.size():
            return _out_of_bounds()
        return _ok(bytes=bytes(instance.memory.read(instance.store, start, end)).hex())

    def _write(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance, start = self._instances[fields["instance"]], int(fields["address"])
        data = bytes.fromhex(fields["bytes"])
        if start + len(data) > instance.size():
            return _out_of_bounds()
        instance.memory.write(instance.store, data, start)
        return _ok()

    def _grow(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance = self._instances[fields["instance"]]
        try:
            return _ok(pages=instance.memory.grow(instance.store, fields["pages"]))
        except wasmtime.WasmtimeError:
            return _ok(pages=-1)


def _kind(trap: wasmtime.Trap, instance: _Instance) -> str:
    if trap.trap_code == wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS:
        return "out-of-bounds"
    if trap.trap_code == wasmtime.TrapCode.UNREACHABLE:
        return "fuel" if instance.meter.value(instance.store) == 0 else "unreachable"
    return "other"


def _ok(**fields: object) -> Answer:
    return {"result": "ok", **fields}


def _out_of_bounds() -> Answer:
    return {"result": "trap", "kind": "out-of-bounds", "message": "past the end of memory"}
