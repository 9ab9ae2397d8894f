"""A kernel inside this process: the same cases, without a pipe to an adapter between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import wasmtime

from extism_kernel_conformance.connection import Answer, Connection, Fields, OnAnswer
from extism_kernel_conformance.typed_values import parameters_of, result_of

PAGE = 65536
MOST_BYTES = 64 << 20
"""Memory that an instance may have; a broken kernel must not take the machine's."""
MOST_FUEL = 20_000_000
"""Instructions that a call may take: more than any case needs, less than a person waits for."""

_BITS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}


class _Instance:
    """One instance, its memory, and the functions called so far."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        self.store.set_limits(memory_size=MOST_BYTES)
        self.store.set_fuel(MOST_FUEL)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory
        self.functions: dict[str, wasmtime.Func] = {}
        self.meter = self.exports.get("meter")

    def size(self) -> int:
        return self.memory.data_len(self.store)


class Subject(Connection):
    """Answers requests at once, in this process, with wasmtime; counts fuel exactly if the module is metered."""

    def __init__(self, signatures: Mapping[str, str]) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        config.cranelift_opt_level = "none"
        self._engine = wasmtime.Engine(config)
        self._types = {name: (parameters_of(text), result_of(text)) for name, text in signatures.items()}
        self._modules: dict[str, wasmtime.Module] = {}
        self._instances: dict[str, _Instance] = {}
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

    def forget_modules(self) -> None:
        """Let go of all compiled modules."""
        self._modules.clear()

    def validate(self, module: bytes) -> bool:
        """Return whether the module is one; it is then compiled for the instances to come."""
        try:
            self._modules[module.hex()] = wasmtime.Module(self._engine, module)
        except wasmtime.WasmtimeError:
            return False
        return True

    def send(self, op: str, fields: Fields, on_answer: OnAnswer) -> None:
        """Answer one request before returning."""
        on_answer(self._answer[op](fields))

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

    def forget_instances(self) -> None:
        """Let go of what a failed case left behind."""
        self._instances.clear()

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
        fuel = int(fields["fuel"]) if "fuel" in fields else None
        if isinstance(instance.meter, wasmtime.Global):
            instance.meter.set_value(instance.store, MOST_FUEL if fuel is None else fuel)
            instance.store.set_fuel(MOST_FUEL * 10)
        else:
            instance.store.set_fuel(MOST_FUEL if fuel is None else fuel)
        try:
            result = function(instance.store, *args)
        except wasmtime.Trap as trap:
            return {"result": "trap", "kind": _kind(trap, instance), "message": trap.message}
        except wasmtime.WasmtimeError as error:
            return {"result": "trap", "kind": "fuel" if "fuel" in str(error) else "other", "message": str(error)}
        kind = self._types[name][1]
        return _ok(values=[] if kind is None else [f"{kind}:{result & _BITS[kind]}"])

    def _read(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance, start = self._instances[fields["instance"]], int(fields["address"])
        end = start + fields["length"]
        if end > instance.size():
            return _out_of_bounds()
        return _ok(bytes=bytes(instance.memory.read(instance.store, start, end)).hex())

    def _write(self, fields: Any) -> Answer:  # noqa: ANN401 - a JSON object
        instance, start, data = self._instances[fields["instance"]], int(fields["address"]), bytes.fromhex(fields["bytes"])
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
    if trap.trap_code == wasmtime.TrapCode.UNREACHABLE and isinstance(instance.meter, wasmtime.Global):
        return "fuel" if instance.meter.value(instance.store) == 0 else "unreachable"
    if trap.trap_code == wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS:
        return "out-of-bounds"
    return "fuel" if "fuel" in trap.message else "unreachable"


def _ok(**fields: object) -> Answer:
    return {"result": "ok", **fields}


def _out_of_bounds() -> Answer:
    return {"result": "trap", "kind": "out-of-bounds", "message": "past the end of memory"}
