"""What one plug-in raises never reaches another, whatever threads do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import HostFunctionError, Plugin, PluginError, PluginTrapError, host_function

from .conftest import request, wat

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "http://tenant-a.test/?token=SECRET"
EXITS = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (func (export "go") (call $exit (i32.const 0))))"""
TRAPS = '(module (func (export "go") unreachable))'


def test_errors_of_plugins_in_threads_never_cross() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + 3

    def work(name: str, plugin: Plugin, export: str, data: str) -> None:
        while time.monotonic() < end:
            try:
                plugin.call(export, data)
                text = "ok"
            except PluginError as error:
                text = str(error)
            seen[name, text] += 1

    denied = [("denied", Plugin({"wasm": [wat("kit")]}), "http", request(URL)) for _ in range(3)]
    exits = [("exits", Plugin(EXITS), "go", "") for _ in range(3)]
    traps = [("traps", Plugin(TRAPS), "go", "") for _ in range(2)]
    threads = [threading.Thread(target=work, args=job) for job in (*denied, *exits, *traps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {
        ("denied", f"HTTP request to {URL} is not allowed"),
        ("exits", "ok"),
        ("traps", "`go` trapped: unreachable"),
    }


def test_error_of_a_plugin_called_inside_a_host_function_stays_there() -> None:
    inner = Plugin(TRAPS)

    def shout(text: str) -> str:
        with pytest.raises(PluginTrapError):
            inner.call("go")
        return text.upper()

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)]) as outer:
        assert outer.call("shout", "abc") == b"ABC"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("limit", [{}, {"timeout_ms": 60_000}], ids=["no-limit", "limit"])
def test_what_is_no_error_leaves_a_host_function_as_it_is(
    error: BaseException, limit: dict[str, object]
) -> None:
    fails = [True]

    def shout(text: str) -> str:
        if fails:
            raise error
        return text.upper()

    with Plugin({"wasm": [wat("shout")], **limit}, functions=[host_function(shout)]) as plugin:
        with pytest.raises(type(error)) as caught:
            plugin.call("shout", "x")
        assert caught.value is error
        fails.clear()
        assert plugin.call("shout", "next") == b"NEXT"


def test_error_of_a_host_function_keeps_its_cause() -> None:
    def shout(text: str) -> str:
        raise LookupError(text)

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)]) as plugin:
        with pytest.raises(HostFunctionError, match="LookupError: x") as caught:
            plugin.call("shout", "x")
        assert isinstance(caught.value.__cause__, LookupError)


def test_copy_of_a_plugin_says_what_it_was_asked(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    with pytest.raises(PluginTrapError, match="unreachable"):
        plugin.call("trap")
