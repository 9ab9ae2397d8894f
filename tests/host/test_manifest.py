"""Manifests: what is refused, with which words, and where modules come from."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from extism_kernel_pkg.host import (
    CompiledPlugin,
    KernelError,
    Manifest,
    ManifestError,
    MemoryLimits,
    Plugin,
    PluginLoadError,
    WasmSource,
    parse_manifest,
    sources,
)

from .conftest import wat, wat_path

if TYPE_CHECKING:
    from .conftest import Server

KIT = bytes(wasmtime.wat2wasm(wat_path("kit").read_text()))
ONE = [{"path": "x.wasm"}]

FAULTS: dict[str, tuple[Any, str]] = {
    "not-json": ("{", "not JSON"),
    "deep-json": ("[" * 100_000, "not JSON"),
    "array": ("[]", "is an array"),
    "no-wasm": ({}, "`wasm` is missing"),
    "empty-wasm": ({"wasm": []}, "`wasm` is missing or empty"),
    "wasm-object": ({"wasm": {}}, "`wasm` is an object, an array"),
    "unknown-key": ({"wasm": ONE, "timeout": 1}, "unknown key `timeout`"),
    "unknown-memory-key": ({"wasm": ONE, "memory": {"max": 1}}, "unknown key `max`"),
    "unknown-wasm-key": ({"wasm": [{"path": "x", "sha": ""}]}, "unknown key `sha`"),
    "two-sources": ({"wasm": [{"path": "x", "url": "y"}]}, "path and url"),
    "no-source": ({"wasm": [{"name": "x"}]}, "this has none"),
    "headers-of-path": ({"wasm": [{"path": "x", "headers": {"a": "b"}}]}, "go with `url` only"),
    "bad-base64": ({"wasm": [{"data": "AGFz!"}]}, "not base64"),
    "data-number": ({"wasm": [{"data": 1}]}, "`data` is a number"),
    "bad-hash": ({"wasm": [{"path": "x", "hash": "abc"}]}, "not a sha256"),
    "config-number": ({"wasm": ONE, "config": {"a": 1}}, "`config.a` is a number, a string"),
    "hosts-string": ({"wasm": ONE, "allowed_hosts": "*"}, "`allowed_hosts` is a string, an array"),
    "hosts-number": ({"wasm": ONE, "allowed_hosts": [1]}, r"`allowed_hosts\[0\]` is a number"),
    "timeout-text": ({"wasm": ONE, "timeout_ms": "1"}, "`timeout_ms` is a string"),
    "timeout-true": ({"wasm": ONE, "timeout_ms": True}, "`timeout_ms` is a boolean"),
    "timeout-zero": ({"wasm": ONE, "timeout_ms": 0}, "`timeout_ms` is 0"),
    "pages-zero": ({"wasm": ONE, "memory": {"max_pages": 0}}, "`max_pages` is 0"),
    "pages-many": ({"wasm": ONE, "memory": {"max_pages": 65537}}, "from 1 to 65536"),
    "vars-negative": ({"wasm": ONE, "memory": {"max_var_bytes": -1}}, "`max_var_bytes` is -1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_manifest_fault_is_named(fault: str) -> None:
    value, message = FAULTS[fault]
    with pytest.raises(ManifestError, match=message):
        parse_manifest(value)


def test_manifest_reads_every_key() -> None:
    manifest = parse_manifest(
        json.dumps(
            {
                "wasm": [{"data": base64.b64encode(KIT).decode(), "name": "main", "hash": "0" * 64}],
                "memory": {"max_pages": 5, "max_http_response_bytes": 6, "max_var_bytes": 7},
                "config": {"a": "b"},
                "allowed_hosts": ["*"],
                "allowed_paths": {".": "/x"},
                "timeout_ms": 8,
            }
        )
    )
    assert manifest == Manifest(
        wasm=(WasmSource(data=KIT, name="main", hash="0" * 64),),
        memory=MemoryLimits(max_pages=5, max_http_response_bytes=6, max_var_bytes=7),
        config={"a": "b"},
        allowed_hosts=("*",),
        allowed_paths={".": "/x"},
        timeout_ms=8,
    )


def test_null_means_absent() -> None:
    keys = ["memory", "config", "allowed_hosts", "allowed_paths", "timeout_ms"]
    assert parse_manifest({"wasm": ONE, **dict.fromkeys(keys)}) == parse_manifest({"wasm": ONE})


def test_plugin_is_made_from_whatever_names_a_module(tmp_path: Path) -> None:
    path = tmp_path / "kit.wasm"
    path.write_bytes(KIT)
    described = tmp_path / "kit.json"
    described.write_text(json.dumps({"wasm": [{"path": str(path)}]}))
    sources: list[Any] = [
        KIT,
        wat_path("kit").read_text(),
        path,
        described,
        described.read_text(),
        {"wasm": [{"data": KIT}]},
        Manifest(wasm=(WasmSource(path=path),)),
        CompiledPlugin(KIT),
    ]
    for source in sources:
        with Plugin(source) as plugin:
            assert plugin.call("echo", b"x") == b"x"


def test_file_name_as_text_gets_a_hint() -> None:
    with pytest.raises(ManifestError, match="neither a manifest") as caught:
        Plugin("kit.wasm")
    assert "pathlib.Path" in caught.value.render()


def test_digest_is_checked() -> None:
    digest = hashlib.sha256(KIT).hexdigest()
    CompiledPlugin({"wasm": [{"data": KIT, "hash": digest.upper()}]})
    with pytest.raises(ManifestError, match="hash mismatch"):
        CompiledPlugin({"wasm": [{"data": KIT + b"\0\1\0", "hash": digest}]})


def test_url_is_fetched_with_its_headers_and_checked(server: Server) -> None:
    digest = hashlib.sha256(b"hello").hexdigest()
    with pytest.raises(PluginLoadError, match="not a WebAssembly module"):
        CompiledPlugin({"wasm": [{"url": server.url("/hello"), "hash": digest, "headers": {"X-A": "b"}}]})
    assert server.seen[0][2]["x-a"] == "b"
    with pytest.raises(ManifestError, match="status 404"):
        CompiledPlugin({"wasm": [{"url": server.url("/nothing")}]})


BAD_MODULES = {
    "empty": (b"\0asm", "component or of an unknown version"),
    "component": (b"\0asm\x0d\0\1\0", "component or of an unknown version"),
    "elf": (b"\x7fELF", "not a WebAssembly module"),
    "cut": (KIT[:-1], "does not compile"),
    "text": (b"(module (func $f (export))", "not valid WebAssembly text"),
    "shared-memory": (b"(module (memory 1 1 shared))", "shared memory"),
    "kernel-memory": (b'(module (import "extism:host/env" "memory" (memory 1)))', "only functions"),
    "unknown-import": (b'(module (import "extism:host/env" "alloc2" (func)))', "`extism:host/env` `alloc2`"),
    "wrong-type": (b'(module (import "extism:host/env" "alloc" (func)))', "alloc"),
    "unknown-wasi": (b'(module (import "wasi_snapshot_preview1" "x" (func)))', "unknown import"),
}


@pytest.mark.parametrize("fault", BAD_MODULES)
def test_module_fault_is_named(fault: str) -> None:
    data, message = BAD_MODULES[fault]
    if fault != "text" and data.startswith(b"("):
        data = data[:-1] + b' (func (export "f")))'
    with pytest.raises(PluginLoadError, match=message):
        Plugin({"wasm": [{"data": data}]}).call("f")


def test_missing_file_is_named() -> None:
    with pytest.raises(ManifestError, match=r"cannot read no-such\.wasm: No such file"):
        Plugin(Path("no-such.wasm"))


def test_path_that_no_system_has_is_named() -> None:
    with pytest.raises(ManifestError, match=r"cannot read 'a\\x00b': embedded null"):
        Plugin({"wasm": [{"path": "a\0b"}]})


def test_kernel_that_does_not_compile_is_named() -> None:
    with pytest.raises(KernelError, match="the kernel does not compile"):
        CompiledPlugin(KIT, kernel=b"\0asm")


def test_config_argument_is_checked_as_the_manifests() -> None:
    wrong: dict[str, Any] = {"retries": 3}
    with pytest.raises(ManifestError, match=r"`config.retries` is a number, a string was expected"):
        CompiledPlugin(KIT, config=wrong)


def test_module_that_does_not_arrive_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FETCH_TIMEOUT_MS", 200)
    with pytest.raises(ManifestError, match=r"timeout: http.* did not arrive") as caught:
        CompiledPlugin({"wasm": [{"url": server.url("/slow")}]})
    assert "timeout_ms" not in caught.value.render()


def test_linked_modules_share_the_kernel() -> None:
    manifest = {"wasm": [{**wat("helper"), "name": "helper"}, wat("main")]}
    with Plugin(manifest) as plugin:
        assert plugin.call("greet") == b"ho"


def test_module_named_main_is_called_wherever_it_stands() -> None:
    manifest = {"wasm": [{**wat("main"), "name": "main"}, {**wat("helper"), "name": "helper"}]}
    with Plugin(manifest) as plugin:
        assert plugin.call("greet") == b"ho"


def test_linked_modules_faults_are_named() -> None:
    with pytest.raises(ManifestError, match="has no name"):
        CompiledPlugin({"wasm": [wat("helper"), wat("main")]})
    with pytest.raises(ManifestError, match="`helper` is taken"):
        CompiledPlugin({"wasm": [{**wat("helper"), "name": "helper"}] * 2 + [wat("main")]})
    with pytest.raises(ManifestError, match="`extism:host/env` is taken"):
        CompiledPlugin({"wasm": [{**wat("helper"), "name": "extism:host/env"}, wat("main")]})
    with pytest.raises(PluginLoadError, match="what no one provides: `helper` `greeting`"):
        Plugin({"wasm": [wat("main")]}).call("greet")
