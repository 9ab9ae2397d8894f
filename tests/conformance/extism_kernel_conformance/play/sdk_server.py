"""The HTTP server on the loopback that serves plug-ins of the sdk profile."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SdkServer(http.server.ThreadingHTTPServer):
    """Answers by path; `count` is the number of requests so far."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.count = 0

    @property
    def url(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def other_url(self) -> str:
        """The same server under a name that is not its number."""
        return f"http://localhost:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: that a client leaves in the middle is what some cases are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SdkServer

    def answer(self) -> None:
        self.server.count += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        page = _PAGES.get(path)
        if page is None:
            self.reply(404, b"no such page")
        else:
            page(self, query, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815 - the base class looks for these names

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep standard error for adapters."""


def _echo(handler: _Handler, query: str, body: bytes) -> None:
    seen = {
        "method": handler.command,
        "query": query,
        "body": body.decode(),
        "x-ask": handler.headers.get("X-Ask"),
        "authorization": handler.headers.get("Authorization"),
    }
    handler.reply(200, json.dumps(seen).encode())


def _early(handler: _Handler, query: str, body: bytes) -> None:  # noqa: ARG001 - one shape for all pages
    handler.wfile.write(f"HTTP/1.1 {query} Early\r\nX-Flavour: Sour\r\n\r\n".encode() * 2)
    handler.reply(200, b"late")


def _slow(handler: _Handler, query: str, body: bytes) -> None:  # noqa: ARG001 - one shape for all pages
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b".")
        time.sleep(0.1)


_PAGES: dict[str, Callable[[_Handler, str, bytes], None]] = {
    "/hello": lambda handler, query, body: handler.reply(200, b"hello", X_Flavour="Sweet"),  # noqa: ARG005
    "/empty": lambda handler, query, body: handler.reply(200, b""),  # noqa: ARG005
    "/teapot": lambda handler, query, body: handler.reply(418, b"short and stout"),  # noqa: ARG005
    "/size": lambda handler, query, body: handler.reply(200, b"z" * int(query)),  # noqa: ARG005
    "/to": lambda handler, query, body: handler.reply(302, b"", Location=query),  # noqa: ARG005
    "/round": lambda handler, query, body: handler.reply(302, b"", Location="/round"),  # noqa: ARG005
    "/echo": _echo,
    "/early": _early,
    "/slow": _slow,
}


@contextmanager
def run_server() -> Iterator[SdkServer]:
    """Serve until the block ends."""
    with SdkServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
