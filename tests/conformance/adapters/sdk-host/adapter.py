"""Adapter protocol 1, sdk profile, for the reference host; see sdk/README.md."""

import json
import logging
import sys
import threading
from pathlib import Path

try:
    from extism_kernel_pkg import host
except ModuleNotFoundError:  # not installed: a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
    from extism_kernel_pkg import host

LEVELS = {"trace": host.TRACE, "debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
NAMES = {number: name for name, number in LEVELS.items()}
plugins, logs = {}, []


class Keep(logging.Handler):
    def emit(self, record):
        logs.append({"level": NAMES[record.levelno], "message": record.getMessage()})


def hello(r):
    return {"protocol": 1, "adapter": "sdk-host", "runtime": "extism_kernel_pkg.host", "version": "1.0.0",
            "capabilities": ["cancel", "logs", "http-headers"]}  # fmt: skip


def load(r):
    logger = logging.getLogger(f"guest.{r['plugin']}")
    logger.setLevel(LEVELS[r["log_level"]])
    logger.handlers, logger.propagate = [Keep(0)], False
    wasm = [{"name": m["name"], "data": bytes.fromhex(m["bytes"])} for m in r["modules"]]
    try:
        compiled = host.CompiledPlugin({"wasm": wasm, **r["manifest"]}, kernel=bytes.fromhex(r["kernel"]) or None)
        plugins[r["plugin"]] = host.Plugin(
            compiled, logger=logger, http_response_headers=r["http_response_headers"]
        )
    except host.PluginError as error:
        return {"result": "reject", "message": str(error)}
    return {}


def invoke(r):
    plugin = plugins[r["plugin"]]
    logs.clear()
    if "cancel_after_ms" in r:
        threading.Timer(r["cancel_after_ms"] / 1000, plugin.cancel).start()
    try:
        return {"output": plugin.call(r["function"], bytes.fromhex(r["input"])).hex(), "logs": list(logs)}
    except host.PluginError as error:
        return {"result": "fail", "message": str(error), "logs": list(logs)}


def unload(r):
    plugins.pop(r["plugin"]).close()
    return {}


OPS = {"hello": hello, "load": load, "invoke": invoke, "unload": unload}
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "result": "unsupported"}
    if request["op"] in OPS:
        try:
            answer = {"id": request["id"], "result": "ok", **OPS[request["op"]](request)}
        except Exception as error:  # the runner is told; the adapter lives on
            answer = {"id": request["id"], "result": "error", "message": repr(error)}
    print(json.dumps(answer), flush=True)
