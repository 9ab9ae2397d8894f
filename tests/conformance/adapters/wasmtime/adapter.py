"""Adapter protocol 1 for wasmtime (PyPI); see PROTOCOL.md."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import re
import sys
from ctypes import byref
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import _ffi as ffi

if TYPE_CHECKING:
    from collections.abc import Callable

Request = dict[str, Any]
Answer = dict[str, Any]

UNLIMITED = 2**63
REFERENCE = re.compile(r"@(\d+)(?:\*(\d+))?(?:\+(\d+))?")
KINDS = {
    "UNREACHABLE": "unreachable",
    "MEMORY_OUT_OF_BOUNDS": "out-of-bounds",
    "INTEGER_DIVISION_BY_ZERO": "integer",
    "INTEGER_OVERFLOW": "integer",
    "BAD_CONVERSION_TO_INTEGER": "integer",
    "STACK_OVERFLOW": "stack",
    "OUT_OF_FUEL": "fuel",
    "INTERRUPT": "interrupted",
}
PAST_THE_END = {"result": "trap", "kind": "out-of-bounds", "message": "past the end of memory"}

config = wasmtime.Config()
config.consume_fuel = True
engine = wasmtime.Engine(config)
modules: dict[str, Module] = {}
instances: dict[str, Instance] = {}
results: list[Answer] = []  # of the batch at hand


class Module:
    """A compiled module, with the types of its exports."""

    def __init__(self, code: bytes) -> None:
        self.compiled = wasmtime.Module(engine, code)
        self.types: dict[str, Any] = {export.name: export.type for export in self.compiled.exports}
        self.has_imports = bool(self.compiled.imports)
        self.functions: dict[str, Function] = {}

    def function(self, name: str) -> Function:
        if name not in self.functions:
            self.functions[name] = Function(name, self.types[name])
        return self.functions[name]


class Instance:
    """A store of its own for each instance; its exports are looked up when they are first used."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(UNLIMITED)
        self.is_limited = False
        self.instance = wasmtime.Instance(self.store, module.compiled, [])
        self.context = self.store._context()
        self.externs: dict[str, Any] = {}

    def find(self, name: str) -> Any:  # noqa: ANN401 - what the C API calls an extern
        """Return one export, without making Python objects of all the others."""
        if name not in self.externs:
            item, data = ffi.wasmtime_extern_t(), name.encode()
            raw = self.instance._instance
            if not ffi.wasmtime_instance_export_get(self.context, byref(raw), data, len(data), byref(item)):
                raise KeyError(name)
            self.externs[name] = item.of
        return self.externs[name]

    def memory(self) -> wasmtime.Memory:
        return wasmtime.Memory._from_raw(self.find("memory").memory)

    def limit(self, fuel: str | None) -> None:
        """Give the next call so much fuel."""
        if fuel is not None:
            self.store.set_fuel(int(fuel))
        elif self.is_limited:
            self.store.set_fuel(UNLIMITED)
        self.is_limited = fuel is not None


class Function:
    """An exported function, called through the C API that the package itself is made of.

    `wasmtime.Func` asks for the function's type in every call, which costs many times what the call does.
    """

    def __init__(self, name: str, kind: wasmtime.FuncType) -> None:
        self.name = name
        parameters, results = list(map(str, kind.params)), list(map(str, kind.results))
        self.arguments = (ffi.wasmtime_val_t * max(len(parameters), 1))()
        self.values = (ffi.wasmtime_val_t * max(len(results), 1))()
        for value, parameter in zip(self.arguments, parameters, strict=False):
            value.kind = {"i32": ffi.WASMTIME_I32, "i64": ffi.WASMTIME_I64}[parameter]
        self.parameters = [(kind, value.of) for kind, value in zip(parameters, self.arguments, strict=False)]
        self.results = [
            (kind, value.of, (1 << int(kind[1:])) - 1)
            for kind, value in zip(results, self.values, strict=False)
        ]

    def call(self, at: Instance, args: list[str]) -> list[str]:
        if len(args) != len(self.parameters):
            raise ValueError(f"{len(args)} arguments for `{self.name}`")
        for (kind, slot), text in zip(self.parameters, args, strict=True):
            if text[:4] != f"{kind}:":
                raise ValueError(f"`{text}` is no {kind}")
            setattr(slot, kind, number(text[4:]))  # ctypes keeps the low bits
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            at.context,
            byref(at.find(self.name).func),
            self.arguments,
            len(self.parameters),
            self.values,
            len(self.results),
            byref(trap),
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
        if trap:
            raise wasmtime.Trap._from_ptr(trap)
        return [f"{kind}:{getattr(slot, kind) & mask}" for kind, slot, mask in self.results]


def number(text: str) -> int:
    """Return a number as it stands there, or one that refers to an earlier answer in the batch."""
    if text[0] != "@":
        return int(text)
    place, factor, offset = REFERENCE.findall(text)[0]
    answer = results[int(place)]
    value = int(answer["values"][0].partition(":")[2]) if "values" in answer else answer["pages"]
    return (value * int(factor or 1) + int(offset or 0)) % 2**64


def write_value(kind: str, value: Any) -> str:  # noqa: ANN401 - what wasmtime gives: a number, a Val or None
    if kind not in {"i32", "i64"}:  # a null reference comes as a Val, or as None
        return "externref:null" if getattr(value, "value", value) is None else "externref:set"
    return f"{kind}:{value % (1 << int(kind[1:]))}"


def hello(_: Request) -> Answer:
    version = importlib.metadata.version("wasmtime")
    capabilities = ["fuel", "fuel-used", "externref", "grow", "resume-after-trap", "batch", "modules"]
    return {
        "protocol": 1,
        "adapter": "wasmtime-py",
        "runtime": "wasmtime",
        "version": version,
        "capabilities": capabilities,
    }


def batch(r: Request) -> Answer:
    results.clear()
    for operation in r["operations"]:
        results.append(perform(operation))  # noqa: PERF401 - later operations refer to earlier results
    return {"answers": results}


def instantiate(r: Request) -> Answer:
    key, stage = r.get("digest") or r["module"], "compile"
    try:
        if key not in modules:
            modules[key] = Module(bytes.fromhex(r["module"]))
        stage = "link" if modules[key].has_imports else "start"
        instances[r["instance"]] = Instance(modules[key])
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        return {"result": "reject", "stage": stage, "message": str(error)}
    return {}


def call(r: Request) -> Answer:
    at, fuel = instances[r["instance"]], r.get("fuel")
    at.limit(fuel)
    try:
        values = at.module.function(r["name"]).call(at, r["args"])
    except wasmtime.Trap as trap:
        kind = KINDS.get(trap.trap_code.name if trap.trap_code else "", "other")
        return {"result": "trap", "kind": kind, "message": str(trap)}
    return (
        {"values": values}
        if fuel is None
        else {"values": values, "used": str(int(fuel) - at.store.get_fuel())}
    )


def read(r: Request) -> Answer:
    at, start = instances[r["instance"]], number(r["address"])
    memory, end = at.memory(), start + r["length"]
    if end > memory.data_len(at.store):
        return PAST_THE_END
    return {"bytes": memory.read(at.store, start, end).hex()}


def write(r: Request) -> Answer:
    at, start, data = instances[r["instance"]], number(r["address"]), bytes.fromhex(r["bytes"])
    memory = at.memory()
    if start + len(data) > memory.data_len(at.store):
        return PAST_THE_END
    memory.write(at.store, data, start)
    return {}


def size(r: Request) -> Answer:
    at = instances[r["instance"]]
    return {"pages": at.memory().size(at.store)}


def grow(r: Request) -> Answer:
    at = instances[r["instance"]]
    try:
        return {"pages": at.memory().grow(at.store, r["pages"])}
    except wasmtime.WasmtimeError:
        return {"pages": -1}


def global_get(r: Request) -> Answer:
    at = instances[r["instance"]]
    found: Any = at.instance.exports(at.store)[r["name"]]
    return {"value": write_value(str(found.type(at.store).content), found.value(at.store))}


def exports(r: Request) -> Answer:
    kinds = {"FuncType": "func", "MemoryType": "memory", "GlobalType": "global", "TableType": "table"}
    types = instances[r["instance"]].module.types
    return {"exports": [{"name": name, "kind": kinds[type(each).__name__]} for name, each in types.items()]}


def drop(r: Request) -> Answer:
    del instances[r["instance"]]
    return {}


OPERATIONS: dict[str, Callable[[Request], Answer]] = {
    each.__name__: each
    for each in (hello, batch, instantiate, call, read, write, size, grow, global_get, exports, drop)
}


def perform(request: Request) -> Answer:
    """Do one operation and return its answer, all but the id."""
    if request["op"] not in OPERATIONS:
        return {"result": "unsupported"}
    try:
        return {"result": "ok", **OPERATIONS[request["op"]](request)}
    except Exception as error:  # noqa: BLE001 - the runner is told, and the adapter lives on
        return {"result": "error", "message": repr(error)}


for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"id": request["id"], **perform(request)}), flush=True)
