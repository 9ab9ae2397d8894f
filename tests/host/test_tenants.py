"""One `CompiledPlugin`, many tenants: what each is given is its own, and what it does stays there."""

from __future__ import annotations

import inspect
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    HostFunctionError,
    HttpDeniedError,
    ManifestError,
    MemoryLimits,
    Plugin,
    PluginExitError,
    PluginOptions,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    host_function,
)

from .conftest import request, wat

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Server


@pytest.fixture(scope="module")
def kit() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("kit")], "config": {"a": "all", "b": "all"}})


@pytest.fixture(scope="module")
def hostile() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("hostile")], "timeout_ms": 60_000, "memory": {"max_pages": 60_000}})


def test_options_are_those_of_a_plugin() -> None:
    parameters = inspect.signature(Plugin).parameters
    assert list(PluginOptions.__annotations__) == [name for name in parameters if name != "source"]


def test_config_of_a_tenant_adds_to_the_manifests(kit: CompiledPlugin) -> None:
    with Plugin(kit, config={"b": "mine"}) as mine, Plugin(kit) as other:
        assert [mine.call("config", key) for key in "ab"] == [b"all", b"mine"]
        assert [other.call("config", key) for key in "ab"] == [b"all", b"all"]
    assert kit.manifest.config == {"a": "all", "b": "all"}


def test_hosts_of_a_tenant_replace_the_manifests(server: Server) -> None:
    compiled = CompiledPlugin({"wasm": [wat("kit")], "allowed_hosts": ["127.0.0.1"]})
    asked = request(server.url("/hello"))
    with Plugin(compiled, allowed_hosts=[]) as nobody, Plugin(compiled) as other:
        with pytest.raises(HttpDeniedError):
            nobody.call("http", asked)
        assert other.call("http", asked) == b"hello"


def test_time_limit_of_a_tenant_is_its_own(hostile: CompiledPlugin) -> None:
    with Plugin(hostile, timeout_ms=50) as hurried, Plugin(hostile) as other:
        with pytest.raises(PluginTimeoutError, match="after 50 ms"):
            hurried.call("loop")
        assert other.call("fine", b"x") == b"x"


@pytest.mark.parametrize("memory", [{"max_pages": 20}, MemoryLimits(max_pages=20)], ids=["mapping", "limits"])
def test_memory_of_a_tenant_is_its_own(
    hostile: CompiledPlugin, memory: MemoryLimits | dict[str, int]
) -> None:
    with Plugin(hostile, memory=memory) as small, Plugin(hostile) as other:
        with pytest.raises(PluginOutOfMemoryError) as caught:
            small.call("reserve_kernel_memory")
        assert "`memory.max_pages` is 20" in caught.value.render()
        assert other.call("fine", b"x") == b"x"


def test_memory_limit_of_a_tenant_leaves_the_others_as_they_are() -> None:
    compiled = CompiledPlugin({"wasm": [wat("kit")], "memory": {"max_var_bytes": 0}})
    with (
        Plugin(compiled, memory={"max_pages": 30}) as plugin,
        pytest.raises(HostFunctionError, match="vars are disabled"),
    ):
        plugin.call("set", b"x")


def test_paths_of_a_tenant_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"secret")
    compiled = CompiledPlugin({"wasm": [wat("wasi")]})
    with Plugin(compiled, allowed_paths={str(tmp_path): "/data"}) as mine, Plugin(compiled) as other:
        assert mine.call("read_file", b"in.txt") == b"secret"
        with pytest.raises(PluginExitError):
            other.call("read_file", b"in.txt")


def test_functions_of_a_tenant_are_its_own() -> None:
    compiled = CompiledPlugin({"wasm": [wat("shout")]})

    def offer(end: str) -> Plugin:
        def shout(text: str) -> str:
            return text.upper() + end

        return Plugin(compiled, functions=[host_function(shout)])

    with offer("!") as one, offer("?") as two:
        assert (one.call("shout", "a"), two.call("shout", "a")) == (b"A!", b"A?")


OPTION_FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "timeout-zero": ({"timeout_ms": 0}, "`timeout_ms` is 0", "the arguments"),
    "hosts-string": ({"allowed_hosts": "*"}, "`allowed_hosts` is a string, an array", "the arguments"),
    "hosts-port": ({"allowed_hosts": ["a:1"]}, "can never match", "the arguments, allowed_hosts[0]"),
    "memory-key": ({"memory": {"max": 1}}, "unknown key `max`", "the arguments, memory"),
    "memory-number": ({"memory": 5}, "`memory` is a number, an object", "the arguments"),
    "config-number": ({"config": {"a": 1}}, "`config.a` is a number", "the arguments"),
    "path-missing": ({"allowed_paths": {"no-such": "/x"}}, "`no-such` is not a folder", "allowed_paths"),
}


@pytest.mark.parametrize("fault", OPTION_FAULTS)
def test_option_fault_is_named(kit: CompiledPlugin, fault: str) -> None:
    options, message, where = OPTION_FAULTS[fault]
    with pytest.raises(ManifestError, match=message) as caught:
        Plugin(kit, **options)
    assert where in str(caught.value.where)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_limit_that_comes_after_a_fork_needs_no_compiler() -> None:
    compiled = CompiledPlugin('(module (memory 2) (memory i64 1) (func (export "f")))')
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        ok = False
        try:
            ok = Plugin(compiled, memory={"max_pages": 20}).call("f") == b""
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
