"""Adapter protocol 1, sdk profile, for the Python SDK; see sdk/README.md. Argument: the folder it is installed in."""

import base64
import json
import os
import re
import sys
import threading

sys.path.insert(0, sys.argv[1])
import extism

plugins, logs = {}, []
LEVEL, PENDING = (sys.argv[2], [sys.argv[3]]) if len(sys.argv) > 3 else ("off", [])  # noqa: PLR2004
LOG = re.compile(r"^\S+ +(TRACE|DEBUG|INFO|WARN|ERROR) extism::pdk: (.*?) plugin=\"[-0-9a-f]+\"\n?$", re.DOTALL)
logger = None if LEVEL == "off" else extism.set_log_custom(lambda text: logs.append(text), level=LEVEL)


def hello(r):
    return {"protocol": 1, "adapter": "sdk-python", "runtime": "extism-python", "version": extism.extism_version(),
            "capabilities": ["cancel", "logs"]}  # fmt: skip


def load(r):
    if r["log_level"] != LEVEL:  # a process sets its level once: begin again with another one
        os.execv(sys.executable, [sys.executable, sys.argv[0], sys.argv[1], r["log_level"], json.dumps(r)])
    wasm = [{"name": m["name"], "data": base64.b64encode(bytes.fromhex(m["bytes"])).decode()} for m in r["modules"]]
    try:
        plugins[r["plugin"]] = extism.Plugin({"wasm": wasm, **r["manifest"]}, functions=[])
    except extism.Error as error:
        return {"result": "reject", "message": str(error)}
    return {}


def guest_logs():
    if logger:
        logger.drain()
    found = [match for match in map(LOG.match, logs) if match]
    return [{"level": match[1].lower(), "message": match[2]} for match in found]


def invoke(r):
    plugin = plugins[r["plugin"]]
    guest_logs(), logs.clear()
    if "cancel_after_ms" in r:
        threading.Timer(r["cancel_after_ms"] / 1000, plugin.cancel_handle().cancel).start()
    try:
        output = bytes(plugin.call(r["function"], bytes.fromhex(r["input"])))
    except extism.Error as error:
        return {"result": "fail", "message": str(error), "logs": guest_logs()}
    return {"output": output.hex(), "logs": guest_logs()}


def unload(r):
    del plugins[r["plugin"]]
    return {}


def answer(line):
    request = json.loads(line)
    operation = {"hello": hello, "load": load, "invoke": invoke, "unload": unload}.get(request["op"])
    try:
        result = {"result": "ok", **operation(request)} if operation else {"result": "unsupported"}
    except Exception as error:  # the runner is told; the adapter lives on
        result = {"result": "error", "message": repr(error)}
    print(json.dumps({"id": request["id"], **result}), flush=True)


for pending in PENDING:
    answer(pending)
for line in sys.stdin:
    answer(line)
