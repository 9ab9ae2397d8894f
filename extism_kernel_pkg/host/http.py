"""HTTP for guests, and for modules given by URL: hosts are checked at every hop, time and size are bounded.

The client is urllib3: it has no dependencies of its own, decodes nothing unless asked, and lets go
of a redirect so that the next hop can be judged first. The exchange runs in a thread of its own,
because no client bounds name resolution or a peer that sends one byte a second; the caller waits
as long as its call may last, then closes the socket under it.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url, parse_url

from extism_kernel_pkg.host.errors import HostFunctionError, HttpDeniedError
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REDIRECTS: Final = 10
_CHUNK: Final = 64 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REWRITTEN_TO_GET: Final = frozenset({301, 302, 303})
# What describes the connection or the body's framing is the client's affair; and `host` would name
# another virtual host than the one that was allowed.
_RESERVED_HEADERS: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
)
_PRIVATE_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request of a guest."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer; header names are lower-case, repeated headers are joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Sends requests within the limits of one plug-in.

    `allowed_hosts` are globs for the host without its port; None allows every host, which is for
    modules that the manifest itself names, never for guests.
    """

    def __init__(
        self, interrupter: Interrupter, *, allowed_hosts: tuple[str, ...] | None, max_response_bytes: int
    ) -> None:
        self._interrupter = interrupter
        self._allowed_hosts = allowed_hosts
        self._max_response_bytes = max_response_bytes

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and follow its redirects; raises `HostFunctionError` or `InterruptedCallError`."""
        for hop in range(MAX_REDIRECTS + 1):
            url = self._check_url(request.url, is_redirect=hop > 0)
            request = _log_in(request, url)
            response = self._exchange(request, url)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirect(request, url, response.status, location)
        raise HostFunctionError(f"HTTP request to {request.url}: more than {MAX_REDIRECTS} redirects")

    def _check_url(self, text: str, *, is_redirect: bool) -> Url:
        """Parse with the parser that also connects, so that no URL can mean two hosts."""
        try:
            url = parse_url(text)
        except urllib3.exceptions.LocationParseError:
            raise HostFunctionError(f"invalid URL: {text!r}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise HostFunctionError(f"invalid URL: {text!r} is not absolute http or https")
        host = url.host.lower()
        allowed = self._allowed_hosts
        if allowed is not None and not any(
            host == pattern.lower() or fnmatchcase(host, pattern.lower()) for pattern in allowed
        ):
            raise HttpDeniedError(text, redirected=is_redirect)
        return url

    def _exchange(self, request: HttpRequest, url: Url) -> HttpResponse:
        hop = _Hop(request, url, self._max_response_bytes, self._interrupter.remaining())
        threading.Thread(target=hop.run, name="extism-http", daemon=True).start()
        try:
            self._interrupter.wait(hop.finished)
        except InterruptedCallError:
            hop.abandon()
            raise
        if hop.failure is not None:
            raise hop.failure
        if hop.response is None:
            raise HostFunctionError(f"HTTP request to {request.url} failed")
        return hop.response


class _Hop:
    """One request and its answer, run in a thread; `abandon` makes that thread end."""

    def __init__(self, request: HttpRequest, url: Url, limit: int, seconds: float | None) -> None:
        self._request = request
        self._url = url
        self._limit = limit
        self._connection = _connect(url, seconds)
        self._is_abandoned = False
        self.finished = threading.Event()
        self.response: HttpResponse | None = None
        self.failure: HostFunctionError | None = None

    def run(self) -> None:
        where = self._request.url
        try:
            self.response = self._send()
        except HostFunctionError as error:
            self.failure = error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.failure = HostFunctionError(f"HTTP request to {where} failed: {error}")
        except Exception as error:  # noqa: BLE001 - http.client has errors of its own; none may end a thread unseen
            self.failure = HostFunctionError(f"HTTP request to {where} failed: {error!r}")
        finally:
            self._connection.close()
            self.finished.set()

    def abandon(self) -> None:
        self._is_abandoned = True  # before the look at the socket: `_send` makes it, then looks here
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it may have been closed a moment ago
                sock.shutdown(socket.SHUT_RDWR)

    def _send(self) -> HttpResponse:
        headers = {
            name: value.encode(errors="replace").decode("latin-1")  # UTF-8, where http.client has Latin-1
            for name, value in self._request.headers.items()
            if name.lower() not in _RESERVED_HEADERS
        }
        self._connection.connect()
        if self._is_abandoned:
            raise HostFunctionError(f"HTTP request to {self._request.url} was given up")
        self._connection.request(
            self._request.method.upper(),
            self._url.request_uri,
            body=self._request.body,
            headers=headers,
            preload_content=False,
            decode_content=False,
        )
        answer = self._connection.getresponse()
        body = bytearray()
        for chunk in answer.stream(_CHUNK, decode_content=False):
            body += chunk
            if len(body) > self._limit:
                raise HostFunctionError(
                    f"HTTP response of {self._request.url} exceeds the limit of {self._limit} bytes",
                    hint="raise `memory.max_http_response_bytes` in the manifest",
                )
        names = {name.lower() for name in answer.headers}
        merged = {name: ", ".join(answer.headers.getlist(name)) for name in names}
        return HttpResponse(status=answer.status, headers=merged, body=bytes(body))


def _connect(url: Url, seconds: float | None) -> HTTPConnection:
    host = (url.host or "").strip("[]")
    if url.scheme == "https":
        context = ssl.create_default_context()
        return HTTPSConnection(host, url.port or 443, timeout=seconds, ssl_context=context)
    return HTTPConnection(host, url.port or 80, timeout=seconds)


def _log_in(request: HttpRequest, url: Url) -> HttpRequest:
    """Turn the name and password that a URL carries into the header that says the same."""
    if url.auth is None or any(name.lower() == "authorization" for name in request.headers):
        return request
    credentials = base64.b64encode(unquote(url.auth).encode()).decode()
    return replace(request, headers={**request.headers, "authorization": f"Basic {credentials}"})


def _redirect(request: HttpRequest, url: Url, status: int, location: str) -> HttpRequest:
    """Return the request of the next hop, as browsers make it, without secrets for another origin."""
    try:
        target = urljoin(url.url, location)
    except ValueError:
        raise HostFunctionError(f"HTTP redirect to an invalid URL: {location!r}") from None
    headers = dict(request.headers)
    method, body = request.method.upper(), request.body
    if status in _REWRITTEN_TO_GET and method not in {"GET", "HEAD"}:
        method, body = "GET", None
        headers = {k: v for k, v in headers.items() if not k.lower().startswith("content-")}
    try:
        parsed = parse_url(target)
        is_same_origin = (parsed.scheme, parsed.host, parsed.port) == (url.scheme, url.host, url.port)
    except urllib3.exceptions.LocationParseError:
        is_same_origin = False  # `send` refuses this URL next
    if not is_same_origin:
        headers = {k: v for k, v in headers.items() if k.lower() not in _PRIVATE_HEADERS}
    return replace(request, url=target, method=method, headers=headers, body=body)
