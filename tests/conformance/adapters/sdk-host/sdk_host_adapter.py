"""Adapter protocol 1, sdk profile, for the reference host; see SDK.md."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[4]))  # a checkout; what is installed comes first
from extism_kernel_pkg import __version__, host

Json = dict[str, Any]
LEVELS = {"trace": host.TRACE, "debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
NAMES = {number: name for name, number in LEVELS.items()}
CAPABILITIES = ["cancel", "logs", "http-headers", "together"]
KERNEL = Path(sys.argv[1]).read_bytes()
plugins: dict[str, host.Plugin] = {}
logs: list[Json] = []


class Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logs.append({"level": NAMES[record.levelno], "message": record.getMessage()})


def hello(_: Json) -> Json:
    about = {"adapter": "sdk-host", "runtime": "extism_kernel_pkg.host", "version": __version__}
    digest = hashlib.sha256(KERNEL).hexdigest()
    return {"protocol": 1, **about, "capabilities": CAPABILITIES, "kernel": digest}


def load(r: Json) -> Json:
    logger = logging.getLogger(f"guest.{r['plugin']}")
    logger.setLevel(LEVELS[r["log_level"]])
    logger.handlers, logger.propagate = [Keep(0)], False
    wasm = [{"name": m["name"], "data": bytes.fromhex(m["bytes"])} for m in r["modules"]]
    kernel = bytes.fromhex(r["kernel"]) or None
    try:
        compiled = host.CompiledPlugin({"wasm": wasm, **r["manifest"]}, kernel=kernel)
        made = host.Plugin(compiled, logger=logger, http_response_headers=r["http_response_headers"])
    except host.PluginError as error:
        return {"result": "reject", "message": str(error)}
    plugins[r["plugin"]] = made
    return {}


def invoke(r: Json) -> Json:
    logs.clear()
    if "cancel_after_ms" in r:
        threading.Timer(r["cancel_after_ms"] / 1000, plugins[r["plugin"]].cancel).start()
    return {**call(r), "logs": logs}


def call(r: Json) -> Json:
    try:
        return {"output": plugins[r["plugin"]].call(r["function"], bytes.fromhex(r["input"])).hex()}
    except host.PluginError as error:
        return {"result": "fail", "message": str(error)}


def repeat(r: Json) -> list[Json]:
    outcomes = Counter(json.dumps({"result": "ok", **call(r)}) for _ in range(r["times"]))
    return [{**json.loads(text), "times": times} for text, times in outcomes.items()]


def together(r: Json) -> Json:
    with ThreadPoolExecutor(len(r["calls"])) as threads:
        return {"answers": list(threads.map(repeat, r["calls"]))}


def unload(r: Json) -> Json:
    plugins.pop(r["plugin"]).close()
    return {}


def unsupported(_: Json) -> Json:
    return {"result": "unsupported"}


OPERATIONS = {"hello": hello, "load": load, "invoke": invoke, "together": together, "unload": unload}
for line in sys.stdin:
    request = json.loads(line)
    operation = OPERATIONS.get(request["op"], unsupported)
    print(json.dumps({"id": request["id"], "result": "ok", **operation(request)}), flush=True)
