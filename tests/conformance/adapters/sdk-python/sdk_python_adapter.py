"""Adapter protocol 1, sdk profile, for the Python SDK; see SDK.md. Argument: where the SDK is installed."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
from embedded import embedded_digest

extism: Any = importlib.import_module("extism")
Json = dict[str, Any]
LEVEL, PENDING = (sys.argv[2], sys.argv[3:]) if sys.argv[2:] else ("off", [])
LINE = re.compile(r'\S+ +(\w+) extism::pdk: (.*?) plugin="[-0-9a-f]+"\n?', re.DOTALL)
plugins: Json = {}
loaded: Json = {}
logs: list[str] = []
logger = None if LEVEL == "off" else extism.set_log_custom(logs.append, level=LEVEL)


def hello(_: Json) -> Json:
    about = {"adapter": "sdk-python", "runtime": "extism-python", "version": extism.extism_version()}
    return {
        "protocol": 1,
        **about,
        "capabilities": ["cancel", "logs", "together"],
        "kernel": embedded_digest(Path(sys.argv[1])),
    }


def load(r: Json) -> Json:
    if r["log_level"] != LEVEL:  # a process sets its level once: begin again with another one
        again = [sys.executable, *sys.argv[:2], r["log_level"], json.dumps(r)]
        os.execv(sys.executable, again)  # noqa: S606 - no shell is what is wanted
    try:
        plugins[r["plugin"]] = make(r)
    except extism.Error as error:
        return {"result": "reject", "message": str(error)}
    loaded[r["plugin"]] = r
    return {}


def make(r: Json) -> Any:  # noqa: ANN401 - the SDK is not typed
    data = [base64.b64encode(bytes.fromhex(m["bytes"])).decode() for m in r["modules"]]
    wasm = [{"name": m["name"], "data": text} for m, text in zip(r["modules"], data, strict=True)]
    return extism.Plugin({"wasm": wasm, **r["manifest"]}, functions=[], wasi=True)


def guest_logs() -> list[Json]:
    if logger is not None:
        logger.drain()
    found = [match for match in map(LINE.fullmatch, logs) if match]
    logs.clear()
    return [{"level": match[1].lower(), "message": match[2]} for match in found]


def invoke(r: Json) -> Json:
    if "cancel_after_ms" in r:
        cancel = plugins[r["plugin"]].cancel_handle().cancel
        threading.Timer(r["cancel_after_ms"] / 1000, cancel).start()
    return {**call(r), "logs": guest_logs()}


def call(r: Json) -> Json:
    try:
        return {"output": bytes(plugins[r["plugin"]].call(r["function"], bytes.fromhex(r["input"]))).hex()}
    except (extism.Error, UnicodeDecodeError) as error:  # the SDK decodes a guest's error strictly
        return {"result": "fail", "message": str(error)}


def repeat(r: Json) -> list[Json]:
    outcomes = Counter(json.dumps({"result": "ok", **call(r)}) for _ in range(r["times"]))
    return [{**json.loads(text), "times": times} for text, times in outcomes.items()]


def together(r: Json) -> Json:
    with ThreadPoolExecutor(len(r["calls"])) as threads:
        return {"answers": list(threads.map(repeat, r["calls"]))}


def measure(r: Json) -> Json:
    plugin, data = plugins[r["plugin"]], b"a" * r.get("length", 0)
    before = time.process_time()
    try:
        for _ in range(r["times"]):
            if "function" in r:
                plugin.call(r["function"], data)
            else:
                make(loaded[r["plugin"]])
    except extism.Error as error:
        return {"result": "fail", "message": str(error)}
    return {"cpu_us": round((time.process_time() - before) * 1e6)}


def unload(r: Json) -> Json:
    del plugins[r["plugin"]]
    return {}


def unsupported(_: Json) -> Json:
    return {"result": "unsupported"}


def answer(line: str) -> None:
    request = json.loads(line)
    operations = {"hello": hello, "load": load, "invoke": invoke, "together": together, "unload": unload}
    operations["time"] = measure
    operation = operations.get(request["op"], unsupported)
    print(json.dumps({"id": request["id"], "result": "ok", **operation(request)}), flush=True)


for line in PENDING:
    answer(line)
for line in sys.stdin:
    answer(line)
