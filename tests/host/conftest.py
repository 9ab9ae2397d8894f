"""Fixtures of the host's tests: the plug-ins in `plugins/`, and an HTTP server on the loopback."""

from __future__ import annotations

import http.server
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cffi", reason="the host needs it; `pip install cffi`")
pytest.importorskip("wasmtime", reason="the host needs it; `pip install wasmtime`")
pytest.importorskip("urllib3", reason="the host needs it; `pip install urllib3`")
pytest.importorskip("idna", reason="the host needs it; `pip install idna`")

import extism_kernel_pkg
from extism_kernel_pkg.host import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDERS = (Path(__file__).parent / "plugins", Path(__file__).parents[1] / "conformance" / "plugins")
"""Our plug-ins, and those of the conformance suite."""
LOOPBACK = {"allowed_hosts": ["127.0.0.1"]}
"""What a manifest adds to reach `server`."""


def wat_path(name: str) -> Path:
    return next(path for folder in FOLDERS if (path := folder / f"{name}.wat").is_file())


def wat(name: str) -> dict[str, Any]:
    """The manifest entry of one plug-in."""
    return {"path": str(wat_path(name))}


def number(data: bytes) -> int:
    """A number that a guest gave as its output."""
    return int.from_bytes(data, "little")


def request(url: str, **more: object) -> str:
    """What a guest gives to `http_request`."""
    return json.dumps({"url": url, **more})


@pytest.fixture(autouse=True, scope="session")
def _kernel() -> None:
    try:
        extism_kernel_pkg.kernel_bytes()
    except Exception as error:  # noqa: BLE001 - whatever it is, it means that no kernel is staged
        pytest.skip(f"no kernel is staged ({error}); `python -m build_tools kernel` makes one")


@pytest.fixture
def load() -> Iterator[Callable[..., Plugin]]:
    """Make a plug-in from the name of a file in `plugins/` and manifest keys; closed after the test."""
    made: list[Plugin] = []

    def make(name: str, *, options: dict[str, Any] | None = None, **manifest: object) -> Plugin:
        plugin = Plugin({"wasm": [wat(name)], **manifest}, **(options or {}))
        made.append(plugin)
        return plugin

    yield make
    for plugin in made:
        plugin.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; records what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append(
            (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        )
        path, _, query = self.path.partition("?")
        action = getattr(self, "answer_" + path.strip("/").replace("-", "_"), self.answer_missing)
        action(query, body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_missing(self, query: str, body: bytes) -> None:  # noqa: ARG002 - all answers take both
        self.reply(404, b"no such page")

    def answer_hello(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.reply(200, b"hello", X_Flavour="Sweet", Set_Cookie="a=1")

    def answer_empty(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.reply(204)

    def answer_echo(self, query: str, body: bytes) -> None:
        self.reply(200, json.dumps([self.command, query, body.decode()]).encode())

    def answer_size(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.reply(200, b"z" * int(query))

    def answer_to(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.reply(302, Location=query)

    def answer_slow(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b".")
            time.sleep(0.05)

    def answer_slow_headers(self, query: str, body: bytes) -> None:  # noqa: ARG002
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(1000):
            self.wfile.write(b"X-%d: y\r\n" % i)
            time.sleep(0.05)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback; `seen` lists (method, path, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what some tests are about."""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_address[1]}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as it:
        thread = threading.Thread(target=it.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield it
        it.shutdown()
        thread.join()
