"""From a manifest, or a bare module, to named modules: reading, fetching, checking digests."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from extism_kernel_pkg.host.contract import ENV_MODULE, MAIN_NAME
from extism_kernel_pkg.host.errors import (
    HostFunctionError,
    ManifestError,
    PluginLoadError,
)
from extism_kernel_pkg.host.http import HttpClient, HttpRequest
from extism_kernel_pkg.host.interrupt import InterruptedCallError, Interrupter
from extism_kernel_pkg.host.manifest import Manifest, WasmSource, parse_manifest
from extism_kernel_pkg.host.text import input_of

Source = Manifest | Mapping[str, Any] | bytes | str | Path
"""A manifest (as object, mapping or JSON), a module (bytes or text format), or a path to either."""

_MAGIC: Final = b"\0asm"
_CORE_VERSION: Final = b"\1\0\0\0"
_HTTP_OK: Final = 200
_FETCH_TIMEOUT_MS: Final = 60_000
_FETCH_LIMIT: Final = 512 * 1024 * 1024


def read_manifest(source: Source) -> Manifest:
    """Return the manifest that a source is or stands for. Raises `ManifestError`."""
    if isinstance(source, Manifest):
        return source
    if isinstance(source, Path):
        if source.suffix == ".json":
            return parse_manifest(_read_file(source))
        return Manifest(wasm=(WasmSource(path=source),))
    if isinstance(source, Mapping):
        return parse_manifest(source)
    try:
        data = input_of(source)
    except ValueError as error:
        raise ManifestError(f"neither a manifest nor a WebAssembly module: {error}") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith(_MAGIC) or data.lstrip().startswith((b"(", b";;")):
        return Manifest(wasm=(WasmSource(data=data),))
    if data.lstrip().startswith(b"{"):
        return parse_manifest(data)
    raise ManifestError(
        "neither a manifest nor a WebAssembly module", hint="pass a file's name as `pathlib.Path(name)`"
    )


def load_modules(manifest: Manifest) -> dict[str, bytes]:
    """Return the bytes of each module by name, checked against their digests; `main` is always there.

    The main module is the one named so, else the last. Raises `ManifestError` or `PluginLoadError`.
    """
    modules: dict[str, bytes] = {}
    has_main = any(source.name == MAIN_NAME for source in manifest.wasm)
    for i, source in enumerate(manifest.wasm):
        is_last = i == len(manifest.wasm) - 1
        where = f"manifest, wasm[{i}]"
        name = MAIN_NAME if is_last and not has_main else source.name
        if name is None:
            raise ManifestError(
                f"{source.describe()} has no name",
                where=where,
                hint="only the last of several modules may have none",
            )
        if name in modules or name == ENV_MODULE:
            raise ManifestError(f"the module name `{name}` is taken", where=where)
        modules[name] = _load(source, where)
    return modules


def _load(source: WasmSource, where: str) -> bytes:
    if source.path is not None:
        data = _read_file(source.path)
    elif source.url is not None:
        data = _fetch(source, where)
    else:
        data = source.data or b""
    digest = hashlib.sha256(data).hexdigest()
    if source.hash is not None and digest != source.hash.lower():
        raise ManifestError(
            f"hash mismatch: {source.describe()} has sha256 {digest}, the manifest says {source.hash}",
            where=where,
        )
    return _check_module(data, source.describe())


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # the null character
        raise ManifestError(f"cannot read {str(path)!r}: {error}") from None


def _fetch(source: WasmSource, where: str) -> bytes:
    """Fetch a module; `allowed_hosts` is for the guest, this address is the manifest author's."""
    interrupter = Interrupter(lambda: None)
    client = HttpClient(interrupter, allowed_hosts=None, max_response_bytes=_FETCH_LIMIT)
    request = HttpRequest(url=source.url or "", method=source.method, headers=source.headers)
    try:
        with interrupter.running(_FETCH_TIMEOUT_MS):
            response = client.send(request)
    except HostFunctionError as error:
        raise ManifestError(error.message, where=where) from None
    except InterruptedCallError:
        raise ManifestError(
            f"timeout: {source.url} did not arrive within {_FETCH_TIMEOUT_MS // 1000} s",
            where=where,
            hint="fetch it beforehand and give it as `path` or `data`",
        ) from None
    finally:
        client.close()
    if response.status != _HTTP_OK:
        raise ManifestError(f"{source.url} answered with HTTP status {response.status}", where=where)
    return response.body


def _check_module(data: bytes, what: str) -> bytes:
    if data.lstrip().startswith((b"(", b";;")):
        from wasmtime import WasmtimeError, wat2wasm  # noqa: PLC0415 - see `host/__init__.py`

        try:
            return bytes(wat2wasm(data))
        except WasmtimeError as error:
            raise PluginLoadError(f"{what} is not valid WebAssembly text: {error}") from None
    if not data.startswith(_MAGIC):
        raise PluginLoadError(f"{what} is not a WebAssembly module: it starts with {data[:4]!r}")
    if data[4:8] != _CORE_VERSION:
        raise PluginLoadError(
            f"{what} is a component or of an unknown version",
            hint="Extism plug-ins are core modules (version 1)",
        )
    return data
