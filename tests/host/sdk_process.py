"""Runs one job on the Python SDK in a process of its own: JSON on stdin, JSON on stdout."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

extism: Any = importlib.import_module("extism")  # only in the cache that the test fills


def functions(namespaces: dict[str, str]) -> list[Any]:
    """The same functions as `OURS` in test_real_plugins, made with the SDK's decorator."""

    def mult(_: object, params: list[Any], results: list[Any]) -> None:
        results[0].value = params[0].value * params[1].value

    def to_upper(text: str) -> str:
        return text.upper()

    def green(text: str) -> str:
        return "\U0001f7e2" + text

    def purple(text: str) -> str:
        return "\U0001f7e3" + text

    bodies = {"mult": mult, "to_upper": to_upper, "hostGreenMessage": green, "hostPurpleMessage": purple}
    number = extism.ValType.I64
    signatures = {"mult": ([number, number], [number])}  # an annotated `int` would be returned as a block
    return [
        extism.host_fn(name=name, namespace=space, signature=signatures.get(name))(bodies[name])
        for name, space in namespaces.items()
    ]


def main() -> None:
    job = json.load(sys.stdin)
    out = []
    with extism.Plugin(
        job["manifest"], wasi=True, functions=functions(job["functions"]), config=job["config"]
    ) as plugin:
        for name, data in job["calls"]:
            try:
                out.append({"output": bytes(plugin.call(name, bytes.fromhex(data))).hex()})
            except extism.Error as error:  # noqa: PERF203 - each call has its own error
                out.append({"error": str(error)})
    print(json.dumps(out))


main()
