"""One HTTP exchange at a time: connections that are kept, limits that hold, proxies if asked for.

The client is urllib3's connection: it decodes nothing unless asked, and lets go of a redirect so
that the next hop can be judged first. The exchange runs in a thread of its own, because no client
bounds name resolution or a peer that sends one byte a second; the caller waits as long as its call
may last, then closes the socket under it.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import io
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Final
from weakref import finalize

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from extism_kernel_pkg.host.errors import HostFunctionError
from extism_kernel_pkg.host.http import HttpRequest, HttpResponse
from extism_kernel_pkg.host.proxies import find_proxy, proxy_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3.response import BaseHTTPResponse
    from urllib3.util import Url

    from extism_kernel_pkg.host.interrupt import Interrupter

MAX_KEPT: Final = 8
"""How many idle connections a plug-in keeps, each to another origin."""

CONNECT_SECONDS: Final = 30
"""How long a thread may connect; the call that waits for it may end before."""

_CHUNK: Final = 64 * 1024
_MAX_INTERIM: Final = 100
"""How many 1xx responses may come before the answer."""
_INTERIM: Final = range(100, 200)
_SWITCHING_PROTOCOLS: Final = 101
_PARTIAL: Final = 206
_IDEMPOTENT: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})  # RFC 9110, 9.2.2
_GZIP: Final = frozenset({"gzip", "x-gzip"})


class _FinalResponse(http.client.HTTPResponse):
    """An answer behind any number of 1xx responses; `http.client` itself passes over 100 alone."""

    def begin(self) -> None:
        super().begin()
        for _ in range(_MAX_INTERIM):
            if self.status not in _INTERIM:
                return
            if self.status == _SWITCHING_PROTOCOLS:
                break
            self.headers = self.msg = None  # type: ignore[assignment] # `begin` reads where they are None
            super().begin()
        raise http.client.HTTPException(f"the server answered with status {self.status}, which is no answer")


class _PlainConnection(HTTPConnection):
    response_class = _FinalResponse


class _TlsConnection(HTTPSConnection):
    response_class = _FinalResponse


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return the one context of the process: to make one reads all certificates of the system."""
    return ssl.create_default_context()


def _close_all(connections: dict[tuple[str, str, int], HTTPConnection]) -> None:
    while connections:
        connections.popitem()[1].close()


class Transport:
    """Keeps a connection to each origin and sends one request at a time.

    Bodies are asked for and decoded as gzip, like the official hosts do, unless the guest chose an
    `Accept-Encoding` or asks for a part. `max_response_bytes` bounds the decoded body.
    """

    def __init__(
        self, interrupter: Interrupter, *, max_response_bytes: int, use_environment_proxies: bool
    ) -> None:
        self._interrupter = interrupter
        self._max_response_bytes = max_response_bytes
        self._use_environment_proxies = use_environment_proxies
        self._kept: dict[tuple[str, str, int], HTTPConnection] = {}
        self._finalizer: finalize[..., object] | None = None
        self._process = os.getpid()

    def exchange(self, request: HttpRequest, url: Url) -> HttpResponse:
        """Send one request and return its answer, redirects too.

        Raises `HostFunctionError`, or `InterruptedCallError` as soon as the call may last no longer.
        """
        if self._process != os.getpid():  # a fork shares the parent's sockets
            self.close()
            self._process = os.getpid()
        origin = (str(url.scheme), str(url.host), url.port or (443 if url.scheme == "https" else 80))
        connection = self._kept.pop(origin, None)
        is_kept = connection is not None and connection.is_connected
        if connection is None or not is_kept:
            if connection is not None:
                connection.close()
            connection = self._connect(*origin)
        seconds = self._interrupter.remaining()
        hop = _Hop(request, url, connection, seconds=seconds, limit=self._max_response_bytes)
        threading.Thread(target=hop.run, name="extism-http", daemon=True).start()
        try:
            self._interrupter.wait(hop.finished)
        except BaseException:  # also Ctrl-C
            hop.abandon()
            raise
        if is_kept and hop.is_unanswered and request.method in _IDEMPOTENT:
            return self.exchange(request, url)  # the server closed it as we sent; none is kept now
        if hop.failure is not None:
            raise hop.failure
        if hop.response is None:
            raise HostFunctionError(f"HTTP request to {request.url} failed")
        self._keep(origin, connection)
        return hop.response

    def close(self) -> None:
        """Close the connections that were kept."""
        if self._finalizer is not None:
            self._finalizer.detach()
            self._finalizer = None
        _close_all(self._kept)

    def _keep(self, origin: tuple[str, str, int], connection: HTTPConnection) -> None:
        if not connection.is_closed:
            self._kept[origin] = connection
            if self._finalizer is None:  # why no `__del__`, `new_store` says
                self._finalizer = finalize(self, _close_all, self._kept)
        if len(self._kept) > MAX_KEPT:
            self._kept.pop(next(iter(self._kept))).close()

    def _connect(self, scheme: str, host: str, port: int) -> HTTPConnection:
        """Return a connection that is yet to be opened, by way of a proxy if there is one to use."""
        is_tls = scheme == "https"
        proxy = find_proxy(scheme, host, port) if self._use_environment_proxies else None
        host = host.strip("[]")
        if proxy is None:
            if is_tls:
                return _TlsConnection(host, port, ssl_context=_tls_context())
            return _PlainConnection(host, port)
        address = (str(proxy.host).strip("[]"), proxy.port or 80)
        if not is_tls:
            return _PlainConnection(*address, proxy=proxy)
        tunnel = _TlsConnection(*address, proxy=proxy, ssl_context=_tls_context())
        tunnel.set_tunnel(host, port, proxy_login(proxy))
        return tunnel


class _Counted(io.RawIOBase):
    """A body as it arrives, counted: without end, it may decode to nothing."""

    def __init__(self, answer: BaseHTTPResponse, check: Callable[[int], None]) -> None:
        self._answer = answer
        self._check = check
        self._taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what `read` of the base class passes
        data = self._answer.read(len(buffer))
        self._taken += len(data)
        self._check(self._taken)
        buffer[: len(data)] = data
        return len(data)


class _Hop:
    """One request and its answer, run in a thread; `abandon` makes that thread end."""

    def __init__(
        self, request: HttpRequest, url: Url, connection: HTTPConnection, *, seconds: float | None, limit: int
    ) -> None:
        self._request = request
        self._url = url
        self._connection = connection
        self._seconds = seconds
        self._limit = limit
        self._is_abandoned = False
        self.finished = threading.Event()
        self.response: HttpResponse | None = None
        self.failure: HostFunctionError | None = None
        self.is_unanswered = False
        """Whether the connection ended before the first byte of an answer."""

    def run(self) -> None:
        where = self._request.url
        try:
            self.response = self._send()
        except HostFunctionError as error:
            self.failure = error
        except (urllib3.exceptions.HTTPError, OSError, EOFError, ValueError) as error:
            self.failure = HostFunctionError(f"HTTP request to {where} failed: {error}")
        except Exception as error:  # noqa: BLE001 - http.client has errors of its own; none may end a thread unseen
            self.failure = HostFunctionError(f"HTTP request to {where} failed: {error!r}")
        finally:
            if self.response is None or self._is_abandoned:
                self._connection.close()
            self.finished.set()

    def abandon(self) -> None:
        self._is_abandoned = True  # before the look at the socket: `_send` makes it, then looks here
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it may have been closed a moment ago
                sock.shutdown(socket.SHUT_RDWR)

    def _send(self) -> HttpResponse:
        if self._connection.is_closed:
            limits = [limit for limit in (self._seconds, CONNECT_SECONDS) if limit is not None]
            self._connection.timeout = min(limits)
            self._connection.connect()
        if self._is_abandoned:
            raise HostFunctionError(f"HTTP request to {self._request.url} was given up")
        self._connection.timeout = self._seconds
        try:
            self._write()
            answer = self._connection.getresponse()
        except ConnectionError:
            self.is_unanswered = True
            raise
        names = {name.lower() for name in answer.headers}
        headers = {name: ", ".join(answer.headers.getlist(name)) for name in names}
        is_gzip = headers.get("content-encoding", "").lower() in _GZIP and answer.status != _PARTIAL
        body = bytearray()
        for chunk in self._gunzip(answer) if is_gzip else answer.stream(_CHUNK):
            body += chunk
            self._check_size(len(body))
        if is_gzip:  # they describe what the guest does not see
            headers = {k: v for k, v in headers.items() if k not in {"content-encoding", "content-length"}}
        return HttpResponse(status=answer.status, headers=headers, body=bytes(body))

    def _write(self) -> None:
        request, target = self._request, self._url.request_uri
        headers = {  # UTF-8, where http.client has Latin-1
            name: value.encode().decode("latin-1") for name, value in request.headers.items()
        }
        names = {name.lower() for name in headers}
        if not names & {"accept-encoding", "range"} and request.method != "HEAD":
            headers["accept-encoding"] = "gzip"
        proxy = self._connection.proxy
        if proxy is not None and self._connection.proxy_is_forwarding:
            target = f"http://{self._url.netloc}{target}"
            headers.update(proxy_login(proxy))
        self._connection.request(
            request.method,
            target,
            body=request.body,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )

    def _gunzip(self, answer: BaseHTTPResponse) -> Iterator[bytes]:
        """Yield the decoded body; a damaged or cut one raises `OSError` or `EOFError`."""
        raw = _Counted(answer, lambda taken: self._check_size(taken - _CHUNK))  # what does not shrink grows
        with gzip.GzipFile(
            fileobj=io.BufferedReader(raw, _CHUNK)
        ) as decoded:  # gzip reads padding byte by byte
            while chunk := decoded.read(_CHUNK):
                yield chunk

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise HostFunctionError(
                f"HTTP response of {self._request.url} exceeds the limit of {self._limit} bytes",
                hint="raise `memory.max_http_response_bytes` in the manifest",
            )
