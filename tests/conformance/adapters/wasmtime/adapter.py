"""Adapter protocol 1 for wasmtime (PyPI); see PROTOCOL.md."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import TYPE_CHECKING, Any

import wasmtime

if TYPE_CHECKING:
    from collections.abc import Callable

Request = dict[str, Any]
Answer = dict[str, Any]

UNLIMITED = 2**63
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
modules: dict[str, wasmtime.Module] = {}
instances: dict[str, Instance] = {}


class Instance:
    """A store of its own for each instance."""

    def __init__(self, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(UNLIMITED)
        self.exports: Any = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.types: dict[str, Any] = {export.name: export.type for export in module.exports}


def write_value(kind: str, value: Any) -> str:  # noqa: ANN401 - what wasmtime gives: a number, a Val or None
    if kind not in {"i32", "i64"}:  # a null reference comes as a Val, or as None
        return "externref:null" if getattr(value, "value", value) is None else "externref:set"
    return f"{kind}:{value % (1 << int(kind[1:]))}"


def read_value(text: str) -> int:
    kind, _, digits = text.partition(":")
    bits, value = int(kind[1:]), int(digits)
    return value - (1 << bits) if value >> (bits - 1) else value


def hello(_: Request) -> Answer:
    version = importlib.metadata.version("wasmtime")
    capabilities = ["fuel", "fuel-used", "externref", "grow", "resume-after-trap"]
    return {
        "protocol": 1,
        "adapter": "wasmtime-py",
        "runtime": "wasmtime",
        "version": version,
        "capabilities": capabilities,
    }


def instantiate(r: Request) -> Answer:
    code, stage = r["module"], "compile"
    try:
        if code not in modules:
            modules[code] = wasmtime.Module(engine, bytes.fromhex(code))
        stage = "link" if modules[code].imports else "start"
        instances[r["instance"]] = Instance(modules[code])
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        return {"result": "reject", "stage": stage, "message": str(error)}
    return {}


def call(r: Request) -> Answer:
    at = instances[r["instance"]]
    fuel = int(r.get("fuel", UNLIMITED))
    at.store.set_fuel(fuel)
    try:
        value = at.exports[r["name"]](at.store, *map(read_value, r["args"]))
    except wasmtime.Trap as trap:
        kind = KINDS.get(trap.trap_code.name if trap.trap_code else "", "other")
        return {"result": "trap", "kind": kind, "message": str(trap)}
    used = {"used": str(fuel - at.store.get_fuel())} if "fuel" in r else {}
    return {"values": [write_value(str(kind), value) for kind in at.types[r["name"]].results], **used}


def read(r: Request) -> Answer:
    at, start = instances[r["instance"]], int(r["address"])
    memory, end = at.exports["memory"], start + r["length"]
    if end > memory.data_len(at.store):
        return PAST_THE_END
    return {"bytes": memory.read(at.store, start, end).hex()}


def write(r: Request) -> Answer:
    at, start, data = instances[r["instance"]], int(r["address"]), bytes.fromhex(r["bytes"])
    memory = at.exports["memory"]
    if start + len(data) > memory.data_len(at.store):
        return PAST_THE_END
    memory.write(at.store, data, start)
    return {}


def size(r: Request) -> Answer:
    at = instances[r["instance"]]
    return {"pages": at.exports["memory"].size(at.store)}


def grow(r: Request) -> Answer:
    at = instances[r["instance"]]
    try:
        return {"pages": at.exports["memory"].grow(at.store, r["pages"])}
    except wasmtime.WasmtimeError:
        return {"pages": -1}


def global_get(r: Request) -> Answer:
    at = instances[r["instance"]]
    found = at.exports[r["name"]]
    return {"value": write_value(str(found.type(at.store).content), found.value(at.store))}


def exports(r: Request) -> Answer:
    kinds = {"FuncType": "func", "MemoryType": "memory", "GlobalType": "global", "TableType": "table"}
    types = instances[r["instance"]].types
    return {"exports": [{"name": name, "kind": kinds[type(each).__name__]} for name, each in types.items()]}


def drop(r: Request) -> Answer:
    del instances[r["instance"]]
    return {}


OPERATIONS: dict[str, Callable[[Request], Answer]] = {
    each.__name__: each
    for each in (hello, instantiate, call, read, write, size, grow, global_get, exports, drop)
}

for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "result": "unsupported"}
    if request["op"] in OPERATIONS:
        try:
            answer = {"id": request["id"], "result": "ok", **OPERATIONS[request["op"]](request)}
        except Exception as error:  # noqa: BLE001 - the runner is told, and the adapter lives on
            answer = {"id": request["id"], "result": "error", "message": repr(error)}
    print(json.dumps(answer), flush=True)
