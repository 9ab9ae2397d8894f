"""A small npm registry on loopback: takes a version once, hands it out, and is out of order at first."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from typing import Any


def make_handler(*, failures: int) -> type[BaseHTTPRequestHandler]:
    """Return a handler with a store of its own, which answers 503 to the first `failures` uploads."""
    packages: dict[str, dict[str, Any]] = {}
    tarballs: dict[str, bytes] = {}
    left = [failures]

    class Registry(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Keep standard error for those who run it."""

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            upload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if left[0] > 0:
                left[0] -= 1
                self.answer(503, b'{"error": "out of order"}')
                return
            package = packages.setdefault(upload["name"], {"versions": {}, "dist-tags": {}})
            if package["versions"].keys() & upload["versions"].keys():
                self.answer(403, b'{"error": "a version is published once"}')
                return
            for name, attachment in upload["_attachments"].items():
                tarballs[name] = base64.b64decode(attachment["data"])
            package["name"] = upload["name"]
            package["versions"] |= upload["versions"]
            package["dist-tags"] |= upload["dist-tags"]
            self.answer(201, b"{}")

        def do_GET(self) -> None:
            name = self.path.split("?")[0].rsplit("/", 1)[-1]
            if name in tarballs:
                self.answer(200, tarballs[name])
            elif name in packages:
                self.answer(200, json.dumps(packages[name]).encode())
            else:
                self.answer(404, b'{"error": "not found"}')

    return Registry
