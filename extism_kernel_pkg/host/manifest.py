"""The manifest: which modules make up a plug-in and what they may do. Strict: unknown keys are errors."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extism_kernel_pkg.host.errors import ManifestError
from extism_kernel_pkg.host.hosts import find_entry_fault, find_entry_meant
from extism_kernel_pkg.host.text import is_unicode

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_MAX_VAR_BYTES = 1024 * 1024
DEFAULT_MAX_HTTP_RESPONSE_BYTES = 50 * 1024 * 1024
MAX_PAGES = 65536

_MANIFEST, _ARGUMENTS = "manifest", "the arguments"
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmSource:
    """One module of a manifest: exactly one of `path`, `url`, `data`; `hash` is its sha256 in hex.

    `method` and `headers` go with `url`. `name` is what other modules import it by.
    """

    path: Path | None = None
    url: str | None = None
    data: bytes | None = None
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    hash: str | None = None

    def describe(self) -> str:
        """Return how a message names this module."""
        return str(self.path or self.url or self.name or "module given as data")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """Limits in pages of 64 KiB and in bytes; `max_pages` counts kernel and plug-in together."""

    max_pages: int | None = None
    max_http_response_bytes: int = DEFAULT_MAX_HTTP_RESPONSE_BYTES
    max_var_bytes: int = DEFAULT_MAX_VAR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A checked manifest.

    `allowed_hosts` holds globs, None and empty deny all. `allowed_paths` maps a folder of the host,
    after an optional `ro:`, to where the guest sees it. `timeout_ms` covers a whole call.
    """

    wasm: tuple[WasmSource, ...]
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    config: Mapping[str, str] = field(default_factory=dict)
    allowed_hosts: tuple[str, ...] | None = None
    allowed_paths: Mapping[str, str] = field(default_factory=dict)
    timeout_ms: int | None = None


def parse_manifest(value: str | bytes | Mapping[str, Any]) -> Manifest:
    """Check a manifest, given as JSON or as what JSON stands for. Raises `ManifestError`."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value.removeprefix("\ufeff") if isinstance(value, str) else _decode(value))
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"the manifest is not JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise ManifestError(f"the manifest is {_kind(value)}, a JSON object was expected")
    keys = {"wasm", "memory", "config", "allowed_hosts", "allowed_paths", "timeout_ms"}
    table = _Table(value, _MANIFEST, keys)
    entries = table.take("wasm", list) or []
    if not entries:
        raise ManifestError("no module: `wasm` is missing or empty", where="manifest, wasm")
    return Manifest(
        wasm=tuple(_parse_source(entry, f"manifest, wasm[{i}]") for i, entry in enumerate(entries)),
        memory=_parse_memory(table.take("memory", dict) or {}, _MANIFEST),
        config=table.take_texts("config") or {},
        allowed_hosts=_parse_hosts(table.take_text_list("allowed_hosts"), _MANIFEST),
        allowed_paths=table.take_texts("allowed_paths") or {},
        timeout_ms=table.take_count("timeout_ms", least=1),
    )


def _decode(data: bytes) -> str | bytes:
    """Decode UTF-8 with or without a byte order mark; the JSON reader tells UTF-16 and UTF-32 by itself."""
    return data.decode("utf-8-sig") if data.startswith(codecs.BOM_UTF8) else data


def change_manifest(  # noqa: PLR0913 - one for each key
    manifest: Manifest,
    *,
    config: Mapping[str, str] | None = None,
    memory: MemoryLimits | Mapping[str, Any] | None = None,
    allowed_hosts: Sequence[str] | None = None,
    allowed_paths: Mapping[str, str] | None = None,
    timeout_ms: int | None = None,
) -> Manifest:
    """Return the manifest with what was given beside it, checked alike; None leaves a key as it is.

    `config` adds to the manifest's, a mapping as `memory` changes the limits that it names, all else
    replaces what the manifest says. Raises `ManifestError`.
    """
    if (config, memory, allowed_hosts, allowed_paths, timeout_ms) == (None,) * 5:
        return manifest
    given = {
        "config": config,
        "memory": None if isinstance(memory, MemoryLimits) else memory,
        "allowed_hosts": allowed_hosts,
        "allowed_paths": allowed_paths,
        "timeout_ms": timeout_ms,
    }
    if memory is None and all(value is None for value in given.values()):
        return manifest
    given = {key: dict(value) if isinstance(value, Mapping) else value for key, value in given.items()}
    table = _Table(given, _ARGUMENTS, set(given))
    limits = table.take("memory", dict)
    if limits is not None:
        memory = _parse_memory({**asdict(manifest.memory), **limits}, _ARGUMENTS)
    hosts = _parse_hosts(table.take_text_list("allowed_hosts"), _ARGUMENTS)
    paths = table.take_texts("allowed_paths")
    limit = table.take_count("timeout_ms", least=1)
    return replace(
        manifest,
        config={**manifest.config, **(table.take_texts("config") or {})},
        memory=memory if isinstance(memory, MemoryLimits) else manifest.memory,
        allowed_hosts=manifest.allowed_hosts if hosts is None else hosts,
        allowed_paths=manifest.allowed_paths if paths is None else paths,
        timeout_ms=manifest.timeout_ms if limit is None else limit,
    )


def _parse_hosts(entries: tuple[str, ...] | None, where: str) -> tuple[str, ...] | None:
    for i, entry in enumerate(entries or ()):
        fault = find_entry_fault(entry)
        if fault is not None:
            meant = find_entry_meant(entry)
            raise ManifestError(
                f"`{entry}` can never match: it {fault}",
                where=f"{where}, allowed_hosts[{i}]",
                hint=None if meant is None else f"write `{meant}`",
            )
    return entries


def _parse_memory(value: Mapping[str, Any], where: str) -> MemoryLimits:
    table = _Table(value, f"{where}, memory", {"max_pages", "max_http_response_bytes", "max_var_bytes"})
    response = table.take_count("max_http_response_bytes")
    variables = table.take_count("max_var_bytes")
    return MemoryLimits(
        max_pages=table.take_count("max_pages", least=1, most=MAX_PAGES),
        max_http_response_bytes=DEFAULT_MAX_HTTP_RESPONSE_BYTES if response is None else response,
        max_var_bytes=DEFAULT_MAX_VAR_BYTES if variables is None else variables,
    )


def _parse_source(value: object, where: str) -> WasmSource:
    if isinstance(value, WasmSource):
        return value
    if not isinstance(value, Mapping):
        raise ManifestError(f"a module is {_kind(value)}, a JSON object was expected", where=where)
    table = _Table(value, where, {"path", "url", "data", "name", "hash", "method", "headers"})
    given = [key for key in ("path", "url", "data") if value.get(key) is not None]
    if len(given) != 1:
        raise ManifestError(
            f"a module has exactly one of `path`, `url`, `data`; this has {' and '.join(given) or 'none'}",
            where=where,
        )
    if given != ["url"] and (value.get("method") or value.get("headers")):
        raise ManifestError("`method` and `headers` go with `url` only", where=where)
    path = value.get("path")
    digest = table.take("hash", str)
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ManifestError("`hash` is not a sha256 in hex (64 digits)", where=where)
    return WasmSource(
        path=path if isinstance(path, Path) else (Path(text) if (text := table.take("path", str)) else None),
        url=table.take("url", str),
        data=_parse_data(value.get("data"), where),
        method=table.take("method", str) or "GET",
        headers=table.take_texts("headers") or {},
        name=table.take("name", str),
        hash=digest,
    )


def _parse_data(value: object, where: str) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ManifestError(f"`data` is {_kind(value)}, base64 text was expected", where=where)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ManifestError(f"`data` is not base64: {error}", where=where) from None


def _kind(value: object) -> str:
    """Return how JSON calls the type of a value."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return "null" if value is None else names.get(type(value), f"a `{type(value).__name__}`")


class _Table:
    """One JSON object, whose keys are taken one by one with a check of their types; null is absent."""

    def __init__(self, value: Mapping[str, Any], where: str, keys: set[str]) -> None:
        self._value = value
        self._where = where
        unknown = sorted(str(key) for key in value if key not in keys)
        if unknown:
            raise ManifestError(
                f"unknown key `{unknown[0]}`", where=where, hint=f"known keys: {', '.join(sorted(keys))}"
            )

    def take(self, key: str, kind: type) -> Any:  # noqa: ANN401 - the type is the argument `kind`
        value = self._value.get(key)
        self._check_text(f"`{key}`", value)
        is_tuple_for_list = kind is list and isinstance(value, tuple)
        if value is not None and not isinstance(value, kind) and not is_tuple_for_list:
            raise ManifestError(f"`{key}` is {_kind(value)}, {_kind(kind())} was expected", where=self._where)
        return value

    def _check_text(self, what: str, value: object) -> None:
        """Refuse lone surrogates, which JSON can spell and nothing can encode."""
        if isinstance(value, str) and not is_unicode(value):
            raise ManifestError(
                f"{what} has a lone surrogate, which is no text: {value!r}", where=self._where
            )

    def take_texts(self, key: str) -> dict[str, str] | None:
        value = self.take(key, dict)
        for name, text in (value or {}).items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise ManifestError(
                    f"`{key}.{name}` is {_kind(text)}, a string was expected", where=self._where
                )
            self._check_text(f"a key of `{key}`", name)
            self._check_text(f"`{key}.{name}`", text)
        return None if value is None else dict(value)

    def take_text_list(self, key: str) -> tuple[str, ...] | None:
        value = self.take(key, list)
        for i, text in enumerate(value or ()):
            if not isinstance(text, str):
                raise ManifestError(
                    f"`{key}[{i}]` is {_kind(text)}, a string was expected", where=self._where
                )
            self._check_text(f"`{key}[{i}]`", text)
        return None if value is None else tuple(value)

    def take_count(self, key: str, *, least: int = 0, most: int = 2**63 - 1) -> int | None:
        value = self._value.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise ManifestError(f"`{key}` is {_kind(value)}, a whole number was expected", where=self._where)
        if not least <= value <= most:
            hint = "hosts disagree on what 0 means; leave the key out for no limit" if value == 0 else None
            raise ManifestError(
                f"`{key}` is {value}, a number from {least} to {most} was expected",
                where=self._where,
                hint=hint,
            )
        return value
