"""HTTP for guests, and for modules given by URL: what may be asked, of which hosts, at every hop.

`transport.py` sends what this module lets through; it is imported with the first request, for the
HTTP library takes longer to import than all the rest of the host.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin

from extism_kernel_pkg.host.errors import HostFunctionError, HttpDeniedError
from extism_kernel_pkg.host.hosts import is_allowed
from extism_kernel_pkg.host.text import is_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.util import Url

    from extism_kernel_pkg.host.interrupt import Interrupter
    from extism_kernel_pkg.host.transport import Transport

MAX_REDIRECTS: Final = 10
METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""CONNECT would make a tunnel, and TRACE would show a guest what only a server should see."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REWRITTEN_TO_GET: Final = frozenset({301, 302, 303})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: no field value has them
# What describes the connection or the body's framing is the client's affair; and `host` would name
# another virtual host than the one that was allowed.
_RESERVED_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_PRIVATE_HEADERS: Final = frozenset({"authorization", "cookie"})


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
    """Sends requests within the limits of one plug-in, one at a time; connections are kept for the next.

    `allowed_hosts` are globs for the host without its port; None allows every host, which is for
    modules that the manifest itself names, never for guests. `use_environment_proxies` honours
    `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    """

    def __init__(
        self,
        interrupter: Interrupter,
        *,
        allowed_hosts: tuple[str, ...] | None,
        max_response_bytes: int,
        use_environment_proxies: bool = False,
    ) -> None:
        self._interrupter = interrupter
        self._allowed_hosts = allowed_hosts
        self._max_response_bytes = max_response_bytes
        self._use_environment_proxies = use_environment_proxies
        self._transport: Transport | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and follow its redirects; raises `HostFunctionError` or `InterruptedCallError`."""
        request = _check(request)
        for hop in range(MAX_REDIRECTS + 1):
            url = self._check_url(request.url, is_redirect=hop > 0)
            request = _log_in(request, url)
            response = self._open_transport().exchange(request, url)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            request = _redirect(request, url, response.status, location)
        raise HostFunctionError(f"HTTP request to {request.url}: more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the connections that were kept; the next request opens new ones."""
        if self._transport is not None:
            self._transport.close()

    def _open_transport(self) -> Transport:
        if self._transport is None:
            from extism_kernel_pkg.host.transport import Transport  # noqa: PLC0415 - see the module

            self._transport = Transport(
                self._interrupter,
                max_response_bytes=self._max_response_bytes,
                use_environment_proxies=self._use_environment_proxies,
            )
        return self._transport

    def _check_url(self, text: str, *, is_redirect: bool) -> Url:
        url = _parse(text)
        if url is None:
            raise HostFunctionError(f"invalid URL: {text!r}")
        if url.scheme not in {"http", "https"} or not url.host:
            raise HostFunctionError(f"invalid URL: {text!r} is not absolute http or https")
        if url.port == 0:
            raise HostFunctionError(f"invalid URL: {text!r} has port 0, where no one can listen")
        if self._allowed_hosts is not None and not is_allowed(url.host, self._allowed_hosts):
            raise HttpDeniedError(text, redirected=is_redirect)
        return url


def _parse(text: str) -> Url | None:
    """Parse with the library that also connects, so that no URL can mean two hosts; None if invalid.

    International names become ASCII (RFC 5891).
    """
    from urllib3.exceptions import LocationParseError  # noqa: PLC0415 - see the module
    from urllib3.util import parse_url  # noqa: PLC0415

    try:
        return parse_url(text)
    except LocationParseError:
        return None


def _check(request: HttpRequest) -> HttpRequest:
    """Return the request as it will be sent. Raises `HostFunctionError` for what RFC 9110 forbids."""
    method = request.method.upper()
    if method not in METHODS:
        raise HostFunctionError(
            f"HTTP method {request.method!r} is not allowed", hint=f"allowed methods: {', '.join(METHODS)}"
        )
    headers = {}
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name):
            raise HostFunctionError(
                f"HTTP header name {name!r} is not a token", hint="letters, digits and !#$%&'*+-.^_`|~"
            )
        if _CONTROL.search(value):
            raise HostFunctionError(f"HTTP header `{name}` has a control character in its value: {value!r}")
        if name.lower() not in _RESERVED_HEADERS:
            headers[name] = value.strip(" \t")
    for text in (request.url, *headers.values()):
        if not is_unicode(text):
            raise HostFunctionError(f"{text!r} of the HTTP request has a lone surrogate, which is no text")
    return replace(request, method=method, headers=headers)


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
    method, body = request.method, request.body
    if status in _REWRITTEN_TO_GET and method not in {"GET", "HEAD"}:
        method, body = "GET", None
        headers = {k: v for k, v in headers.items() if not k.lower().startswith("content-")}
    parsed = _parse(target)  # `send` refuses an invalid one next
    if parsed is None or (parsed.scheme, parsed.host, parsed.port) != (url.scheme, url.host, url.port):
        headers = {k: v for k, v in headers.items() if k.lower() not in _PRIVATE_HEADERS}
    return replace(request, url=target, method=method, headers=headers, body=body)
