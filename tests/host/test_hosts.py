"""`allowed_hosts`: what an entry matches, and the entries that match nothing."""

from __future__ import annotations

import pytest

from extism_kernel_pkg.host import ManifestError, parse_manifest
from extism_kernel_pkg.host.hosts import is_allowed

USELESS = {
    "port": ("127.0.0.1:8080", "has a port", "127.0.0.1"),
    "any-port": ("localhost:*", "has a port", "localhost"),
    "glob-port": ("*.a.b:80", "has a port", "*.a.b"),
    "url": ("http://a.b", "is a URL", "a.b"),
    "long-url": ("https://me:pw@a.b:80/x?y", "is a URL", "a.b"),
    "url-of-address": ("http://[::1]:8/", "is a URL", "[::1]"),
    "scheme-alone": ("http://", "is a URL", None),
    "path": ("a.b/c", "has a character that no host has", "a.b"),
    "user": ("me@a.b", "has a character that no host has", "a.b"),
    "spaces": (" a.b ", "has a character that no host has", "a.b"),
    "braces": ("{a,b}.c", "has a character that no host has", None),
    "newline": ("a.b\n", "has a character that no host has", "a.b"),
    "ipv6": ("::1", "without its brackets", "[::1]"),
    "ipv6-port": ("[::1]:80", "has a port", "[::1]"),
    "ipv6-glob-in-set": ("[fe80:*]", "has a port", None),
    "not-ascii": ("Bücher.example", "is not ASCII", "xn--bcher-kva.example"),
    "not-ascii-glob": ("*.bücher.example", "is not ASCII", "*.xn--bcher-kva.example"),
    "not-ascii-in-glob": ("bü*.example", "is not ASCII", None),
    "empty": ("", "is empty", None),
}


@pytest.mark.parametrize("fault", USELESS)
def test_entry_that_can_never_match_is_refused_with_the_one_that_would(fault: str) -> None:
    entry, message, meant = USELESS[fault]
    with pytest.raises(ManifestError, match=message) as caught:
        parse_manifest({"wasm": [{"path": "x"}], "allowed_hosts": ["*", entry]})
    assert caught.value.where == "manifest, allowed_hosts[1]"
    assert caught.value.hint == (None if meant is None else f"write `{meant}`")
    if meant is not None:
        parse_manifest({"wasm": [{"path": "x"}], "allowed_hosts": [meant]})


MATCHES = {
    "*": ("a.b", "127.0.0.1", "[::1]"),
    "A.b": ("a.B",),
    "*.a.b": ("x.a.b", "x.y.a.b"),
    "?.b": ("a.b",),
    "[ab].c": ("a.c", "b.c"),
    "[::1]": ("[::1]",),
    "?fe80:*": ("[fe80::1]",),
    "*:*": ("[::1]",),
    "xn--bcher-kva.example": ("xn--bcher-kva.example",),
}


@pytest.mark.parametrize("entry", MATCHES)
def test_entry_that_matches_a_host_is_accepted(entry: str) -> None:
    parse_manifest({"wasm": [{"path": "x"}], "allowed_hosts": [entry]})
    assert all(is_allowed(host, [entry]) for host in MATCHES[entry])
    assert not is_allowed("other.example", [entry]) or entry == "*"
    assert not is_allowed(MATCHES[entry][0], [])
