"""Adapter protocol 1 for wasmtime (PyPI); see PROTOCOL.md."""

import importlib.metadata
import json
import sys

import wasmtime

KINDS = {
    "UNREACHABLE": "unreachable",
    "MEMORY_OUT_OF_BOUNDS": "out-of-bounds",
    "HEAP_MISALIGNED": "out-of-bounds",
    "INTEGER_DIVISION_BY_ZERO": "integer",
    "INTEGER_OVERFLOW": "integer",
    "BAD_CONVERSION_TO_INTEGER": "integer",
    "STACK_OVERFLOW": "stack",
    "OUT_OF_FUEL": "fuel",
    "INTERRUPT": "interrupted",
}
UNLIMITED = 2**63
config = wasmtime.Config()
config.consume_fuel = True
engine = wasmtime.Engine(config)
modules, instances = {}, {}


class Instance:
    def __init__(self, module):
        self.store = wasmtime.Store(engine)
        self.store.set_fuel(UNLIMITED)
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.types = {e.name: e.type for e in module.exports}


def write_value(kind, value):
    if str(kind) not in {"i32", "i64"}:  # a null reference comes as a Val, or as None
        return "externref:null" if getattr(value, "value", value) is None else "externref:set"
    return f"{kind}:{value % (1 << int(str(kind)[1:]))}"


def hello(r):
    return {"protocol": 1, "adapter": "wasmtime-py", "runtime": "wasmtime", "version": importlib.metadata.version("wasmtime"),
            "capabilities": ["fuel", "externref", "grow", "resume-after-trap"]}  # fmt: skip


def instantiate(r):
    code, stage = r["module"], "compile"
    try:
        if code not in modules:
            modules[code] = wasmtime.Module(engine, bytes.fromhex(code))
        stage = "start" if not modules[code].imports else "link"
        instances[r["instance"]] = Instance(modules[code])
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        return {"result": "reject", "stage": stage, "message": str(error)}
    return {}


def call(r):
    at = instances[r["instance"]]
    args = [int(a.split(":")[1]) for a in r["args"]]
    args = [a - (1 << bits) if a >> (bits - 1) else a
            for a, bits in zip(args, (int(a[1:3]) for a in r["args"]))]  # fmt: skip
    at.store.set_fuel(int(r.get("fuel", UNLIMITED)))
    try:
        value = at.exports[r["name"]](at.store, *args)
    except wasmtime.Trap as trap:
        kind = KINDS.get(trap.trap_code.name if trap.trap_code else "", "other")
        return {"result": "trap", "kind": kind, "message": str(trap)}
    results = at.types[r["name"]].results
    return {"values": [write_value(kind, value) for kind in results]}


def access(r):
    at, address = instances[r["instance"]], int(r["address"])
    memory = at.exports["memory"]
    data = bytes.fromhex(r.get("bytes", ""))
    length = r.get("length", len(data))
    if address + length > memory.data_len(at.store):
        return {"result": "trap", "kind": "out-of-bounds", "message": "past the end of memory"}
    if r["op"] == "write":
        memory.write(at.store, data, address)
        return {}
    return {"bytes": memory.read(at.store, address, address + length).hex()}


def size(r):
    at = instances[r["instance"]]
    return {"pages": at.exports["memory"].size(at.store)}


def grow(r):
    at = instances[r["instance"]]
    try:
        return {"pages": at.exports["memory"].grow(at.store, r["pages"])}
    except wasmtime.WasmtimeError:
        return {"pages": -1}


def global_get(r):
    at = instances[r["instance"]]
    cell = at.exports[r["name"]]
    return {"value": write_value(cell.type(at.store).content, cell.value(at.store))}


def exports(r):
    kinds = {"FuncType": "func", "MemoryType": "memory", "GlobalType": "global", "TableType": "table"}
    types = instances[r["instance"]].types
    return {"exports": [{"name": n, "kind": kinds[type(t).__name__]} for n, t in types.items()]}


def drop(r):
    del instances[r["instance"]]
    return {}


OPS = {"hello": hello, "instantiate": instantiate, "call": call, "read": access, "write": access, "size": size,
       "grow": grow, "global_get": global_get, "exports": exports, "drop": drop}  # fmt: skip
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "result": "unsupported"}
    if request["op"] in OPS:
        try:
            answer = {"id": request["id"], "result": "ok", **OPS[request["op"]](request)}
        except Exception as error:  # the runner is told; the adapter lives on
            answer = {"id": request["id"], "result": "error", "message": repr(error)}
    print(json.dumps(answer), flush=True)
