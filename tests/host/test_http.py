"""HTTP as guests make it: what goes out, where to, how far, and when it ends."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import (
    HostFunctionError,
    HttpDeniedError,
    Plugin,
    PluginCancelledError,
    PluginTimeoutError,
)
from extism_kernel_pkg.host.http import HttpClient, HttpRequest
from extism_kernel_pkg.host.interrupt import Interrupter

from .conftest import LOOPBACK, number, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Server


def test_http_gives_body_status_and_headers(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK, options={"http_response_headers": True})
    assert number(plugin.call("status")) == 0
    assert plugin.call("http", request(server.url("/hello"), headers={"X-Ask": "me"})) == b"hello"
    assert number(plugin.call("status")) == 200
    assert server.seen[0][2]["x-ask"] == "me"
    headers = json.loads(plugin.call("headers", request(server.url("/hello"))))
    assert headers["x-flavour"] == "Sweet"
    assert list(headers) == sorted(name.lower() for name in headers)


def test_http_headers_are_absent_unless_enabled(load: Callable[..., Plugin], server: Server) -> None:
    assert load("kit", **LOOPBACK).call("headers", request(server.url("/hello"))) == b""


def test_http_sends_method_body_and_query(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK)
    assert json.loads(plugin.call("http_post", request(server.url("/echo?q=1&r=%20"), method="put"))) == [
        "PUT",
        "q=1&r=%20",
        "b",
    ]


def test_http_header_goes_out_as_utf8(load: Callable[..., Plugin], server: Server) -> None:
    load("kit", **LOOPBACK).call("http", request(server.url("/hello"), headers={"X-A": "żó€"}))
    assert server.seen[0][2]["x-a"].encode("latin-1") == "żó€".encode()


def test_http_logs_in_with_what_the_url_says(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", allowed_hosts=["*"])
    url = server.url("/hello").replace("://", "://me:s%3acret@")
    plugin.call("http", request(url))
    plugin.call("http", request(url, headers={"Authorization": "own"}))
    away = server.url("/hello", host="localhost")
    plugin.call("http", request(url.replace("/hello", "/to?" + away)))
    sent = [seen[2].get("authorization") for seen in server.seen]
    assert sent == ["Basic bWU6czpjcmV0", "own", "Basic bWU6czpjcmV0", None]


def test_request_is_not_sent_after_its_call_has_ended(
    load: Callable[..., Plugin], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, ended = socket.getaddrinfo, threading.Event()

    def resolve_late(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - the resolver's
        ended.wait(30)
        return resolve(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
    plugin = load("kit", **LOOPBACK, timeout_ms=200)
    plugin.call("nothing")
    with pytest.raises(PluginTimeoutError):
        plugin.call("http", request(server.url("/hello")))
    ended.set()
    for thread in threading.enumerate():
        if thread.name == "extism-http":
            thread.join(30)
    assert server.seen == []


def test_http_keeps_its_own_framing_and_host(load: Callable[..., Plugin], server: Server) -> None:
    headers = {
        "Host": "other.example",
        "Content-Length": "1000",
        "Transfer-Encoding": "chunked",
        "Proxy-Authorization": "Basic eDp5",
    }
    plugin = load("kit", **LOOPBACK)
    plugin.call("http_post", request(server.url("/echo"), method="POST", headers=headers))
    _, _, sent, body = server.seen[0]
    assert sent["host"] == f"127.0.0.1:{server.server_address[1]}"
    assert (sent["content-length"], body) == ("1", b"b")
    assert not {"transfer-encoding", "proxy-authorization"} & set(sent)


def test_http_under_an_endless_time_limit(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK, timeout_ms=2**63 - 1)
    assert plugin.call("http", request(server.url("/hello"))) == b"hello"


def test_cancel_ends_a_wait_for_the_server(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK)
    plugin.call("nothing")
    timer = threading.Timer(0.3, plugin.cancel)
    timer.start()
    with pytest.raises(PluginCancelledError):
        plugin.call("http", request(server.url("/slow")))
    timer.join()
    assert plugin.call("echo", b"fine") == b"fine"


def test_http_error_status_is_not_an_error(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK)
    assert plugin.call("http", request(server.url("/missing"))) == b"no such page"
    assert number(plugin.call("status")) == 404
    assert plugin.call("http", request(server.url("/empty"))) == b""


@pytest.mark.parametrize(
    ("hosts", "is_allowed"),
    [
        (None, False),
        ([], False),
        (["example.com"], False),
        (["127.0.0.1"], True),
        (["127.*"], True),
        (["*"], True),
        (["?27.0.0.1"], True),
        (["127.0.0"], False),
    ],
)
def test_allowed_hosts_decide(
    load: Callable[..., Plugin], server: Server, hosts: list[str] | None, is_allowed: bool
) -> None:
    plugin = load("kit", allowed_hosts=hosts)
    if is_allowed:
        assert plugin.call("http", request(server.url("/hello"))) == b"hello"
    else:
        with pytest.raises(HttpDeniedError, match="is not allowed"):
            plugin.call("http", request(server.url("/hello")))
        assert server.seen == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1@{evil}/hello", "http://{evil}#@127.0.0.1/hello", "http://{evil}\\@127.0.0.1/hello"],
)
def test_no_spelling_of_a_url_reaches_another_host(
    load: Callable[..., Plugin], server: Server, url: str
) -> None:
    evil = f"localhost:{server.server_address[1]}"
    with pytest.raises(HostFunctionError):
        load("kit", **LOOPBACK).call("http", request(url.format(evil=evil)))
    assert server.seen == []


BAD_REQUESTS = {
    "not-json": ("{", "not JSON"),
    "deep-json": ("[" * 100_000, "not JSON"),
    "not-object": ("[]", "string `url`"),
    "no-url": ("{}", "string `url`"),
    "file-url": (request("file:///etc/passwd"), "not absolute http or https"),
    "relative-url": (request("/hello"), "not absolute http or https"),
    "header-number": (request("http://127.0.0.1/", headers={"a": 1}), "object of strings"),
    "header-injection": (request("http://127.0.0.1:1/", headers={"a": "b\r\nc: d"}), "control character"),
    "method-injection": (request("http://127.0.0.1:1/", method="GET / HTTP/1.1\r\nx: "), "not allowed"),
    "no-one-listens": (request("http://127.0.0.1:1/"), "failed"),
}


@pytest.mark.parametrize("fault", BAD_REQUESTS)
def test_bad_request_is_refused(load: Callable[..., Plugin], fault: str) -> None:
    text, message = BAD_REQUESTS[fault]
    plugin = load("kit", **LOOPBACK)
    with pytest.raises(HostFunctionError, match=message):
        plugin.call("http", text)
    assert plugin.call("echo", b"fine") == b"fine"


def test_redirect_is_followed_and_checked_again(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK)
    assert plugin.call("http", request(server.url("/to?/hello"))) == b"hello"
    with pytest.raises(HttpDeniedError, match="redirect to http://localhost"):
        plugin.call("http", request(server.url("/to?" + server.url("/hello", host="localhost"))))
    with pytest.raises(HostFunctionError, match="not absolute http"):
        plugin.call("http", request(server.url("/to?file:///etc/passwd")))
    with pytest.raises(HostFunctionError, match="more than 10 redirects"):
        plugin.call("http", request(server.url("/to?/to?/to")).replace("/to?/to?/to", "/to?to"))


def test_redirect_to_no_url_is_named() -> None:
    client = HttpClient(Interrupter(lambda: None), allowed_hosts=None, max_response_bytes=9)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(HostFunctionError, match=r"redirect to an invalid URL: 'http://\[::1/'"):
            client.send(HttpRequest(url=f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()


def test_redirect_keeps_secrets_from_other_origins(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", allowed_hosts=["*"])
    target = server.url("/hello", host="localhost")
    plugin.call("http", request(server.url("/to?" + target), headers={"Authorization": "s", "X-A": "b"}))
    assert server.seen[0][2]["authorization"] == "s"
    assert "authorization" not in server.seen[1][2]
    assert server.seen[1][2]["x-a"] == "b"


def test_redirected_post_becomes_get(load: Callable[..., Plugin], server: Server) -> None:
    load("kit", **LOOPBACK).call("http_post", request(server.url("/to?/echo"), method="POST"))
    assert [(seen[0], seen[3]) for seen in server.seen] == [("POST", b"b"), ("GET", b"")]


def test_response_limit_is_exact(load: Callable[..., Plugin], server: Server) -> None:
    plugin = load("kit", **LOOPBACK, memory={"max_http_response_bytes": 100_000})
    assert len(plugin.call("http", request(server.url("/size?100000")))) == 100_000
    with pytest.raises(HostFunctionError, match="exceeds the limit of 100000 bytes"):
        plugin.call("http", request(server.url("/size?100001")))


@pytest.mark.parametrize("path", ["/slow", "/slow_headers"])
def test_timeout_covers_a_slow_server(load: Callable[..., Plugin], server: Server, path: str) -> None:
    plugin = load("kit", **LOOPBACK, timeout_ms=300)
    plugin.call("nothing")
    with pytest.raises(PluginTimeoutError, match="timeout"):
        plugin.call("http", request(server.url(path)))
    assert plugin.call("http", request(server.url("/hello"))) == b"hello"
