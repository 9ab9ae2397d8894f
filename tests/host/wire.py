"""A server on the loopback that answers each request with bytes from a list, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from extism_kernel_pkg.host.http import HttpClient
from extism_kernel_pkg.host.interrupt import Interrupter

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from typing_extensions import Self

CLOSE = b""
"""In a script: close the connection instead of an answer."""


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """The bytes of a correct answer."""
    fields = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def client(
    interrupter: Interrupter | None = None,
    *,
    hosts: tuple[str, ...] | None = ("127.0.0.1",),
    limit: int = 100_000,
    proxies: bool = False,
) -> HttpClient:
    """The client that is under test, without a plug-in around it."""
    return HttpClient(
        interrupter or Interrupter(lambda: None),
        allowed_hosts=hosts,
        max_response_bytes=limit,
        use_environment_proxies=proxies,
    )


class Wire:
    """`requests` holds the head and body of each request, `connections` how many were accepted."""

    def __init__(self, script: Iterable[bytes], context: ssl.SSLContext | None = None) -> None:
        self._script = iter(script)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = threading.Semaphore(0)
        """Released whenever a peer's connection has ended."""

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.connections += 1
                self._peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self.ended.release)
            if self._context is not None:
                peer = self._context.wrap_socket(peer, server_side=True)
                self._peers.append(peer)
            stack.callback(peer.close)
            while request := self._read(peer):
                self.requests.append(request)
                data = next(self._script, CLOSE)
                if data == CLOSE:
                    return
                peer.sendall(data)

    def _read(self, peer: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = peer.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
        )
        while len(body) < length:
            body += peer.recv(65536)
        return head + b"\r\n\r\n" + body
