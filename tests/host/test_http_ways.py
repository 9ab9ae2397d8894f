"""HTTP by other ways: TLS, and the proxies of the environment."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import HostFunctionError, HttpDeniedError, Plugin, transport
from extism_kernel_pkg.host.http import HttpRequest

from .conftest import LOOPBACK, request
from .wire import Wire, answer, client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """The context of a server on 127.0.0.1 that this process trusts."""
    x509 = pytest.importorskip("cryptography.x509", reason="`pip install cryptography` makes the certificate")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - behind the skip
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    transport._tls_context.cache_clear()
    yield context
    transport._tls_context.cache_clear()


def test_tls_has_one_context_and_keeps_its_connection(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = ssl.create_default_context, []

    def make_and_count() -> ssl.SSLContext:
        made.append(1)
        return make()

    monkeypatch.setattr(ssl, "create_default_context", make_and_count)
    script = [answer(status="302 Found", Location="/b"), answer(b"1"), answer(b"2"), answer(b"3")]
    with Wire(script, certificate) as wire:
        sender, other = client(), client()
        url = wire.url(scheme="https")
        bodies = [it.send(HttpRequest(url=url)).body for it in (sender, sender, other)]
        assert (bodies, wire.connections, len(made)) == ([b"1", b"2", b"3"], 2, 1)
        sender.close()
        other.close()


def test_tls_refuses_a_server_it_cannot_identify(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire([answer(b"1")], certificate) as wire:
        with pytest.raises(HostFunctionError, match="CERTIFICATE_VERIFY_FAILED"):
            client(hosts=None).send(HttpRequest(url=wire.url(host="localhost", scheme="https")))
        monkeypatch.delenv("SSL_CERT_FILE")
        transport._tls_context.cache_clear()
        with pytest.raises(HostFunctionError, match="CERTIFICATE_VERIFY_FAILED"):
            client().send(HttpRequest(url=wire.url(scheme="https")))
        assert wire.requests == []


def test_proxy_of_the_environment_is_used_only_if_asked_for(
    load: Callable[..., Plugin], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire([answer(b"direct")]) as wire, Wire([answer(b"by proxy")]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:s%20t@127.0.0.1:{proxy.port}")
        assert load("kit", **LOOPBACK).call("http", request(wire.url())) == b"direct"
        plugin = load("kit", **LOOPBACK, options={"http_environment_proxies": True})
        assert plugin.call("http", request(wire.url("/a?b"))) == b"by proxy"
        plugin.close()
    head = proxy.requests[0]
    assert head.startswith(f"GET {wire.url('/a?b')} HTTP/1.1\r\nHost: 127.0.0.1:{wire.port}\r\n".encode())
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:s t") in head.replace(
        b"proxy-auth", b"Proxy-Auth"
    )
    assert b"Proxy" not in wire.requests[0]


def test_proxy_is_reached_for_allowed_hosts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire([answer(status="302 Found", Location="http://other.example/")] * 2) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(HttpDeniedError):
            client(proxies=True).send(HttpRequest(url="http://other.example/"))
        assert proxy.requests == []
        with pytest.raises(HttpDeniedError, match=r"redirect to http://other\.example"):
            client(hosts=("one.example",), proxies=True).send(HttpRequest(url="http://one.example/"))
        assert len(proxy.requests) == 1


def test_proxy_is_passed_by_for_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire([answer(b"direct")]) as wire, Wire([]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        assert client(proxies=True).send(HttpRequest(url=wire.url())).body == b"direct"
        assert proxy.connections == 0


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://[::1", "http://"])
def test_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with Wire([answer()]) as wire, pytest.raises(HostFunctionError, match="proxy for http cannot be used"):
        client(proxies=True).send(HttpRequest(url=wire.url()))
    assert wire.connections == 0


class Tunnel:
    """A proxy that opens tunnels; `asked` holds the requests for one."""

    def __init__(self, refusal: bytes = b"") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._refusal = refusal
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                head = peer.recv(65536)
                self.asked.append(head)
                if self._refusal:
                    peer.sendall(self._refusal)
                    peer.close()
                    continue
                host, _, port = head.split()[1].decode().rpartition(":")
                server = socket.create_connection((host, int(port)))
                peer.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                for source, sink in ((peer, server), (server, peer)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


def test_tls_goes_through_a_tunnel_that_is_kept(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = Tunnel()
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw@127.0.0.1:{tunnel.port}")
    with contextlib.closing(tunnel), Wire([answer(b"1"), answer(b"2")], certificate) as wire:
        sender = client(proxies=True)
        url = wire.url(scheme="https")
        assert [sender.send(HttpRequest(url=url)).body for _ in range(2)] == [b"1", b"2"]
        sender.close()
    assert len(tunnel.asked) == 1
    assert tunnel.asked[0].startswith(f"CONNECT 127.0.0.1:{wire.port} HTTP/1.".encode())
    assert base64.b64encode(b"me:pw") in tunnel.asked[0]
    assert base64.b64encode(b"me:pw") not in wire.requests[0]


def test_tunnel_that_is_refused_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tunnel = Tunnel(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
    with contextlib.closing(tunnel), pytest.raises(HostFunctionError, match="403"):
        client(proxies=True).send(HttpRequest(url="https://127.0.0.1:1/"))
