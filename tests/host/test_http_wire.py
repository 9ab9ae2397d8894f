"""HTTP against servers that do as they like: what is sent, which answers count, what is kept."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import HostFunctionError, Plugin
from extism_kernel_pkg.host.http import HttpRequest
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter

from .conftest import LOOPBACK, request
from .wire import CLOSE, Wire, answer, client

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Server

BAD_FIELDS = {
    "name-space": ({"Host ": "x"}, "is not a token"),
    "name-tab": ({"Content-Length\t": "9"}, "is not a token"),
    "name-two-words": ({"X Y": "x"}, "is not a token"),
    "name-empty": ({"": "x"}, "is not a token"),
    "name-colon": ({"X:Y": "x"}, "is not a token"),
    "name-not-ascii": ({"Bücher": "x"}, "is not a token"),
    "name-newline": ({"X\n": "x"}, "is not a token"),
    "value-new-line": ({"X": "a\r\nY: b"}, "control character"),
    "value-folded": ({"X": "a\r\n b"}, "control character"),
    "value-null": ({"X": "a\0"}, "control character"),
    "value-ends-in-lf": ({"X": "a\n"}, "control character"),
    "value-reserved": ({"Connection": "a\nb"}, "control character"),
    "value-delete": ({"X": "\x7f"}, "control character"),
    "value-surrogate": ({"X": "\ud800"}, "lone surrogate"),
}


@pytest.mark.parametrize("fault", BAD_FIELDS)
def test_bad_header_is_not_sent(fault: str) -> None:
    headers, message = BAD_FIELDS[fault]
    with Wire([answer()]) as wire, pytest.raises(HostFunctionError, match=message):
        client().send(HttpRequest(url=wire.url(), headers=headers))
    assert wire.connections == 0


def test_header_of_any_token_is_sent_and_trimmed() -> None:
    with Wire([answer()]) as wire:
        client().send(HttpRequest(url=wire.url(), headers={"!#$%&'*+-.^_`|~09aZ": " \ta\tb é "}))
    assert b"\r\n!#$%&'*+-.^_`|~09aZ: a\tb \xc3\xa9\r\n" in wire.requests[0]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "connect", "PROPFIND", "GET ", "G T", "GET\r\nX:"])
def test_method_out_of_the_list_is_not_sent(method: str) -> None:
    with Wire([answer()]) as wire, pytest.raises(HostFunctionError, match=r"method .* not allowed") as caught:
        client().send(HttpRequest(url=wire.url(), method=method))
    assert "GET, HEAD" in caught.value.render()
    assert wire.connections == 0


@pytest.mark.parametrize("method", ["delete", "get", "head", "options", "patch", "post", "put"])
def test_method_of_the_list_is_sent_in_capitals(method: str) -> None:
    with Wire([answer()]) as wire:
        client().send(HttpRequest(url=wire.url(), method=method))
    assert wire.requests[0].startswith(method.upper().encode() + b" / ")


BAD_URLS = {
    "port-zero": ("http://127.0.0.1:0/", "port 0"),
    "surrogate": ("http://127.0.0.1/\ud800", "lone surrogate"),
    "no-idna-name": ("http://\u2603.example/", "invalid URL"),
}


@pytest.mark.parametrize("fault", BAD_URLS)
def test_bad_url_is_refused(fault: str) -> None:
    url, message = BAD_URLS[fault]
    with pytest.raises(HostFunctionError, match=message):
        client(hosts=None).send(HttpRequest(url=url))


def test_redirect_to_port_zero_is_refused() -> None:
    with (
        Wire([answer(status="302 Found", Location="http://127.0.0.1:0/")]) as wire,
        pytest.raises(HostFunctionError, match="port 0"),
    ):
        client().send(HttpRequest(url=wire.url()))


def test_international_name_is_allowed_and_connected_to_by_its_ascii_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve, asked = socket.getaddrinfo, []

    def resolve_here(host: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - the resolver's
        asked.append(host)
        return resolve("127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    with Wire([answer(b"ok")]) as wire:
        sender = client(hosts=("*.xn--bcher-kva.example",))
        assert sender.send(HttpRequest(url=wire.url(host="www.bücher.example"))).body == b"ok"
    assert asked == ["www.xn--bcher-kva.example"]
    assert f"Host: www.xn--bcher-kva.example:{wire.port}".encode() in wire.requests[0]


def test_interim_responses_are_passed_over() -> None:
    interim = b"".join(
        b"HTTP/1.1 %d Later\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n" % status for status in (100, 102, 103)
    )
    with Wire([interim + answer(b"ok", X_A="final")]) as wire:
        response = client().send(HttpRequest(url=wire.url()))
    assert (response.status, response.body) == (200, b"ok")
    assert response.headers == {"content-length": "2", "x-a": "final"}


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 103 Hints\r\n\r\n" * 101], ids=["101", "many"]
)
def test_interim_response_is_never_the_answer(interim: bytes) -> None:
    with (
        Wire([interim + answer(b"ok")]) as wire,
        pytest.raises(HostFunctionError, match=r"status 10[13], which is no answer"),
    ):
        client().send(HttpRequest(url=wire.url()))


TEXT = b"some text, some text, some text"
ZIPPED = gzip.compress(TEXT)


def test_gzip_is_asked_for_and_decoded() -> None:
    with Wire([answer(ZIPPED, Content_Encoding="gzip", X_A="b")]) as wire:
        response = client().send(HttpRequest(url=wire.url()))
    assert b"\r\naccept-encoding: gzip\r\n" in wire.requests[0].lower()
    assert (response.body, response.headers) == (TEXT, {"x-a": "b"})


def test_gzip_reaches_the_guest_decoded(load: Callable[..., Plugin]) -> None:
    with Wire([answer(ZIPPED, Content_Encoding="GZip")] * 2) as wire:
        plugin = load("kit", **LOOPBACK, options={"http_response_headers": True})
        assert plugin.call("http", request(wire.url())) == TEXT
        assert json.loads(plugin.call("headers", request(wire.url()))) == {}
        plugin.close()


@pytest.mark.parametrize("headers", [{"Accept-Encoding": "br"}, {"Range": "bytes=0-3"}], ids=["own", "range"])
def test_gzip_is_not_asked_for_against_the_guests_wish(headers: dict[str, str]) -> None:
    with Wire([answer(b"x")]) as wire:
        client().send(HttpRequest(url=wire.url(), headers=headers))
    assert b"gzip" not in wire.requests[0].lower()


BODIES = {
    "two-members": (answer(ZIPPED * 2, Content_Encoding="x-gzip"), TEXT * 2),
    "empty": (answer(b"", Content_Encoding="gzip"), b""),
    "no-content": (b"HTTP/1.1 204 No\r\nContent-Encoding: gzip\r\n\r\n", b""),
    "deflate": (answer(zlib.compress(TEXT), Content_Encoding="deflate"), zlib.compress(TEXT)),
    "part": (answer(ZIPPED[:9], "206 Part", Content_Encoding="gzip"), ZIPPED[:9]),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (1, ZIPPED[i : i + 1]) for i in range(len(ZIPPED)))
        + b"0\r\n\r\n",
        TEXT,
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_body_is_decoded_where_it_is_gzip(kind: str) -> None:
    data, body = BODIES[kind]
    with Wire([data, answer(b"next")]) as wire:
        sender = client()
        assert sender.send(HttpRequest(url=wire.url())).body == body
        assert sender.send(HttpRequest(url=wire.url())).body == b"next"
        assert wire.connections == 1


def test_head_of_a_gzip_body_is_not_decoded() -> None:
    head = answer(ZIPPED, Content_Encoding="gzip").removesuffix(ZIPPED)
    with Wire([head, answer(b"next")]) as wire:
        sender = client()
        assert sender.send(HttpRequest(url=wire.url(), method="HEAD")).body == b""
        assert sender.send(HttpRequest(url=wire.url())).body == b"next"


BAD_ANSWERS = {
    "gzip-cut": answer(ZIPPED[:-9], Content_Encoding="gzip"),
    "gzip-damaged": answer(ZIPPED[:12] + b"\xff\xff" + ZIPPED[14:], Content_Encoding="gzip"),
    "not-gzip": answer(TEXT, Content_Encoding="gzip"),
    "no-http": b"SSH-2.0-x\r\n",
    "cut": answer(TEXT)[:-1],
    "cut-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "bad-chunk-size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "long-header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("fault", BAD_ANSWERS)
def test_bad_answer_is_an_error_and_its_connection_is_left(fault: str) -> None:
    interrupter = Interrupter(lambda: None)
    with Wire([BAD_ANSWERS[fault], answer(b"next")]) as wire:
        sender = client(interrupter)
        threading.Thread(target=_hang_up, args=(wire,), daemon=True).start()
        with interrupter.running(20_000), pytest.raises(HostFunctionError, match="failed"):
            sender.send(HttpRequest(url=wire.url()))
        assert sender.send(HttpRequest(url=wire.url())).body == b"next"
        assert wire.connections == 2


def _hang_up(wire: Wire) -> None:
    """End the writing side of the first connection, once it has been answered."""
    while not wire.requests:
        time.sleep(0.01)
    time.sleep(0.1)
    with contextlib.suppress(OSError):  # the client was faster
        wire._peers[0].shutdown(socket.SHUT_WR)


BOMBS = {
    "zeros": gzip.compress(bytes(20_000_000)),
    "members": gzip.compress(b"") * 20_000,
    "padding": ZIPPED + bytes(400_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_response_limit_holds_for_what_is_decoded(kind: str) -> None:
    with (
        Wire([answer(BOMBS[kind], Content_Encoding="gzip")]) as wire,
        pytest.raises(HostFunctionError, match="exceeds the limit of 100000 bytes"),
    ):
        client().send(HttpRequest(url=wire.url()))


def test_response_limit_is_exact_for_what_is_decoded() -> None:
    data = os.urandom(100_000)
    with Wire([answer(gzip.compress(data), Content_Encoding="gzip")]) as wire:
        assert client().send(HttpRequest(url=wire.url())).body == data


def test_connection_is_kept_also_for_redirects() -> None:
    script = [answer(status="302 Found", Location="/b"), answer(b"1"), answer(b"2")]
    with Wire(script) as wire:
        sender = client()
        assert [sender.send(HttpRequest(url=wire.url(path))).body for path in ["/a", "/c"]] == [b"1", b"2"]
        assert wire.connections == 1
        sender.close()
        assert wire.ended.acquire(timeout=10)


def test_connection_is_not_kept_against_the_servers_wish() -> None:
    with Wire([answer(b"1", Connection="close"), answer(b"2")]) as wire:
        sender = client()
        assert [sender.send(HttpRequest(url=wire.url())).body for _ in range(2)] == [b"1", b"2"]
        assert wire.connections == 2


def test_bytes_behind_an_answer_are_not_the_next_one() -> None:
    with Wire([answer(b"1") + answer(b"forged"), answer(b"2")]) as wire:
        sender = client()
        assert [sender.send(HttpRequest(url=wire.url())).body for _ in range(2)] == [b"1", b"2"]


def test_request_on_a_kept_connection_that_ends_is_repeated_if_that_is_harmless() -> None:
    with Wire([answer(b"1"), CLOSE, answer(b"2"), answer(b"3"), CLOSE, answer(b"4")]) as wire:
        sender = client()
        assert [sender.send(HttpRequest(url=wire.url())).body for _ in range(3)] == [b"1", b"2", b"3"]
        with pytest.raises(HostFunctionError, match="failed"):
            sender.send(HttpRequest(url=wire.url(), method="POST", body=b"pay"))
        assert sender.send(HttpRequest(url=wire.url())).body == b"4"
        assert sum(sent.startswith(b"POST") for sent in wire.requests) == 1


def test_request_on_a_new_connection_that_ends_is_not_repeated() -> None:
    with Wire([CLOSE, answer(b"1")]) as wire:
        with pytest.raises(HostFunctionError, match="failed"):
            client().send(HttpRequest(url=wire.url()))
        assert len(wire.requests) == 1


def test_few_connections_are_kept() -> None:
    sender = client()
    wires = [Wire([answer(b"1")] * 2) for _ in range(10)]
    try:
        for wire in wires:
            wire.__enter__()
            sender.send(HttpRequest(url=wire.url()))
        assert all(wire.ended.acquire(timeout=10) for wire in wires[:2])
        sender.send(HttpRequest(url=wires[2].url()))
        assert wires[2].connections == 1
    finally:
        for wire in wires:
            wire.__exit__()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_process_has_connections_of_its_own() -> None:
    with Wire([answer(b"1"), answer(b"2"), answer(b"3")]) as wire:
        sender = client()
        sender.send(HttpRequest(url=wire.url()))
        child = os.fork()
        if child == 0:
            os._exit(0 if sender.send(HttpRequest(url=wire.url())).body == b"2" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sender.send(HttpRequest(url=wire.url())).body == b"3"
        assert wire.connections == 2


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "extism-http"]


@pytest.mark.parametrize("path", ["/slow", "/slow_headers"])
def test_ctrl_c_ends_a_request(server: Server, path: str) -> None:
    sender = client()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sender.send(HttpRequest(url=server.url(path)))
    assert time.monotonic() - began < 5
    timer.join()
    for thread in _threads():
        thread.join(10)
    assert _threads() == []
    assert sender.send(HttpRequest(url=server.url("/hello"))).body == b"hello"


def test_time_limit_covers_a_tls_server_that_stays_silent() -> None:
    interrupter = Interrupter(lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and answers no handshake
        with interrupter.running(300), pytest.raises(InterruptedCallError):
            client(interrupter).send(HttpRequest(url=f"https://127.0.0.1:{listener.getsockname()[1]}/"))
        for thread in _threads():
            thread.join(10)
        assert _threads() == []


@pytest.mark.skipif(sys.platform != "linux", reason="fills a queue as Linux counts it")
def test_time_limit_covers_a_server_that_accepts_nobody() -> None:
    interrupter = Interrupter(lambda: None)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # what comes after these is left without an answer
            peer = stack.enter_context(socket.socket())
            peer.setblocking(False)
            peer.connect_ex(listener.getsockname())
        with interrupter.running(300), pytest.raises(InterruptedCallError):
            client(interrupter).send(HttpRequest(url=f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        for thread in _threads():
            thread.join(10)
        assert _threads() == []
