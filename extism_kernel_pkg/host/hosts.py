"""`allowed_hosts`: which entries can match a host, and whether one does."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# What no host holds (RFC 3986, 3.2.2), beside what globs and IPv6 addresses need.
_NEVER_IN_HOST: Final = re.compile(r"[\x00-\x20\x7f/\\#@<>^`{|}\"]")
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):[0-9*]*")


def is_allowed(host: str, entries: Iterable[str]) -> bool:
    """Return whether one of the entries is this host, or a glob that matches it.

    `host` is a URL's host as it is connected to: without a port, ASCII (RFC 5891), IPv6 in brackets.
    """
    host = host.lower()
    return any(host == entry.lower() or fnmatchcase(host, entry.lower()) for entry in entries)


def find_entry_fault(entry: str) -> str | None:
    """Return why an entry can never match a host, or None if it can."""
    fault = None
    if not entry:
        fault = "is empty"
    elif "://" in entry:
        fault = "is a URL, and hosts are compared"
    elif _NEVER_IN_HOST.search(entry):
        fault = "has a character that no host has"
    elif _parse_ipv6(entry):
        fault = "is an IPv6 address without its brackets"
    elif ":" in entry and not _is_ipv6_like(entry):
        fault = "has a port, and hosts are compared without one"
    elif not entry.isascii():
        fault = "is not ASCII, and hosts are compared in their ASCII form (RFC 5891)"
    return fault


def find_entry_meant(entry: str) -> str | None:
    """Return the entry that the author of a faulty one meant, if that can be told."""
    text = entry.strip().rpartition("://")[2]
    text = re.split(r"[/\\#]", text, maxsplit=1)[0].rpartition("@")[2]
    with_port = _PORT.fullmatch(text)
    text = with_port[1] if with_port and not _parse_ipv6(text) else text
    if _parse_ipv6(text):
        return f"[{text}]"
    try:
        text = ".".join(label if label.isascii() else _to_ascii(label) for label in text.split("."))
    except UnicodeError:
        return None
    return text if find_entry_fault(text) is None else None


def _parse_ipv6(text: str) -> IPv6Address | None:
    try:
        return IPv6Address(text.partition("%")[0])
    except AddressValueError:
        return None


def _is_ipv6_like(entry: str) -> bool:
    """Return whether an entry with a colon is an address in brackets, or a glob for one."""
    if entry.startswith("[") and entry.endswith("]"):
        return _parse_ipv6(entry[1:-1]) is not None
    return entry[0] in "*?" and entry[-1] in "*?]"


def _to_ascii(label: str) -> str:
    """Encode one label as URLs are encoded here. Raises `UnicodeError`."""
    import idna  # noqa: PLC0415 - few entries need it

    return idna.encode(label.lower(), strict=True, std3_rules=True).decode()
