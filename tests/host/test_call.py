"""Calls: input, output, errors and their precedence, life of an instance."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import extism_kernel_pkg
from extism_kernel_pkg.host import (
    CompiledPlugin,
    CurrentPlugin,
    FunctionNotFoundError,
    GuestError,
    HttpDeniedError,
    Plugin,
    PluginBusyError,
    PluginCancelledError,
    PluginClosedError,
    PluginError,
    PluginExitError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
    host_function,
)
from extism_kernel_pkg.host.interrupt import WATCHDOG

from .conftest import wat

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 255, 4096, 65535, 65536, 65537, 1_000_003]


@pytest.mark.parametrize("size", SIZES)
def test_call_returns_input_of_every_size(load: Callable[..., Plugin], size: int) -> None:
    plugin = load("kit")
    data = bytes(i * 31 % 251 for i in range(size))
    assert plugin.call("echo", data) == data


def test_call_serves_sizes_in_any_order_on_one_instance(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    for size in [*SIZES[:-1], *reversed(SIZES[:-1])]:
        assert plugin.call("echo", b"x" * size) == b"x" * size


def test_call_takes_text_as_utf8(load: Callable[..., Plugin]) -> None:
    assert load("kit").call("echo", "żółć") == "żółć".encode()


def test_output_inside_a_block_is_cut_there(load: Callable[..., Plugin]) -> None:
    assert load("kit").call("tail", b"abcdef") == b"bcdef"


def test_silent_function_gives_no_old_output(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    plugin.call("echo", b"old")
    assert plugin.call("nothing", b"new") == b""
    assert plugin.call("echo", b"") == b""


def test_instance_keeps_its_globals_until_reset(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    assert [plugin.call("count")[0] for _ in range(3)] == [1, 2, 3]
    plugin.reset()
    assert plugin.call("count")[0] == 1


ERRORS: dict[str, tuple[type[PluginError], str]] = {
    "fail": (GuestError, "^boom$"),
    "fail_with_zero": (GuestError, "^boom$"),
    "fail_and_trap": (GuestError, "^boom$"),
    "fail_with_output": (GuestError, "^boom$"),
    "exit_7": (PluginExitError, "non-zero exit code: 7"),
    "trap": (PluginTrapError, "unreachable"),
    "no_such": (FunctionNotFoundError, "`no_such` is not exported"),
    "takes_one": (FunctionNotFoundError, r"is \(i32\) -> \(\)"),
    "gives_i64": (FunctionNotFoundError, r"is \(\) -> \(i64\)"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_is_named_and_next_call_works(load: Callable[..., Plugin], name: str) -> None:
    plugin = load("kit")
    kind, message = ERRORS[name]
    with pytest.raises(kind, match=message) as caught:
        plugin.call(name, b"boom")
    assert caught.value.render().startswith(f"error[{kind.code}]: ")
    assert plugin.call("echo", b"fine") == b"fine"


@pytest.mark.parametrize(
    "error",
    [
        GuestError("boom", where="`f`", hint="do"),
        HttpDeniedError("http://x/", redirected=True),
        PluginBusyError(),
        PluginCancelledError("f"),
        PluginExitError("f", 7),
        PluginOutOfMemoryError("no", max_pages=3),
        PluginTimeoutError("f", 5),
        PluginTrapError("f", "unreachable"),
    ],
    ids=lambda error: error.code,
)
def test_error_crosses_processes_whole(error: PluginError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert (str(copy), copy.render(), vars(copy)) == (str(error), error.render(), vars(error))


def test_guest_error_keeps_the_trap_as_its_cause(load: Callable[..., Plugin]) -> None:
    with pytest.raises(GuestError) as caught:
        load("kit").call("fail_and_trap", b"boom")
    assert isinstance(caught.value.__cause__, PluginTrapError)


def test_guest_error_wins_over_timeout(load: Callable[..., Plugin]) -> None:
    with pytest.raises(GuestError, match=r"^boom$") as caught:
        load("kit", timeout_ms=500).call("fail_and_loop", b"boom")
    assert isinstance(caught.value.__cause__, PluginTimeoutError)


def test_function_exists_tells_what_call_can_call(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")
    assert [plugin.function_exists(n) for n in ("echo", "count", "takes_one", "gives_i64", "no")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_cancel_from_another_thread_stops_the_call(load: Callable[..., Plugin]) -> None:
    plugin = load("hostile")
    assert not plugin.cancel()
    timer = threading.Timer(0.1, plugin.cancel)
    timer.start()
    with pytest.raises(PluginCancelledError, match="cancelled"):
        plugin.call("loop")
    timer.join()
    assert plugin.call("fine", b"next") == b"next"


def test_cancel_stops_only_its_own_plugin() -> None:
    compiled = CompiledPlugin({"wasm": [wat("hostile")], "timeout_ms": 600})
    first, second = Plugin(compiled), Plugin(compiled)
    ended: dict[str, PluginError] = {}

    def run(name: str, plugin: Plugin) -> None:
        try:
            plugin.call("loop")
        except PluginError as error:
            ended[name] = error

    threads = [threading.Thread(target=run, args=item) for item in (("first", first), ("second", second))]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert first.cancel()
    for thread in threads:
        thread.join()
    assert isinstance(ended["first"], PluginCancelledError)
    assert isinstance(ended["second"], PluginTimeoutError)


def test_endless_time_limit_leaves_the_limits_of_others(load: Callable[..., Plugin]) -> None:
    assert load("kit", timeout_ms=2**63 - 1).call("echo", b"x") == b"x"
    time.sleep(0.1)
    with pytest.raises(PluginTimeoutError):
        load("hostile", timeout_ms=100).call("loop")


def test_watchdog_keeps_nothing_of_ended_calls() -> None:
    plugin = Plugin({"wasm": [wat("kit")], "timeout_ms": 3_600_000})
    for _ in range(100):
        plugin.call("echo", b"x")
    assert plugin._interrupter not in WATCHDOG._running


def test_threads_keep_their_errors_apart() -> None:
    compiled = CompiledPlugin({"wasm": [wat("shout")]})
    wrong: list[str] = []

    def refuse(text: str) -> str:
        raise ValueError(text)

    def run(number: int) -> None:
        with Plugin(compiled, functions=[host_function(refuse, name="shout")]) as plugin:
            for i in range(30):
                try:
                    plugin.call("shout", f"{number}-{i}")
                except PluginError as error:  # noqa: PERF203 - each call has its own error
                    if f"{number}-{i}" not in str(error):
                        wrong.append(str(error))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reentrant_call_is_refused_and_does_no_harm() -> None:
    def shout(text: str) -> str:
        with pytest.raises(PluginBusyError, match="reentrant"):
            plugin.call("shout", text)
        return text.upper()

    plugin = Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)])
    assert plugin.call("shout", "abc") == b"ABC"


def test_closed_plugin_says_so(load: Callable[..., Plugin]) -> None:
    with load("kit") as plugin:
        plugin.call("echo")
        plugin.close()
        with pytest.raises(PluginClosedError):
            plugin.call("echo")


def test_plugin_that_nobody_closed_is_freed() -> None:
    def shout(plugin: CurrentPlugin, text: str) -> str:
        return f"{text} for {plugin.host_context}"

    plugin = Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)])
    assert plugin.call("shout", "cake", host_context="me") == b"cake for me"
    assert plugin._linked is not None
    linked = weakref.ref(plugin._linked)
    del plugin
    gc.collect()
    assert linked() is None


def test_interrupt_cannot_be_lost_where_a_closed_plugin_is_dropped() -> None:
    """Python ignores what a signal raises in a `__del__` or a callback of a weak reference."""
    plugin = Plugin({"wasm": [wat("kit")]})
    plugin.call("echo")
    plugin.close()
    entered: list[str] = []
    dropped = weakref.ref(plugin)
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del plugin
    finally:
        sys.setprofile(None)
    assert dropped() is None
    assert entered == []


FORKING = """
import os, signal
from extism_kernel_pkg.host import Plugin
Plugin('(module (func (export "f")))').call("f")
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(Plugin('(module (func (export "f") (result i32) (i32.const 0)))').call("f") != b"")
os._exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_process_makes_plugins_of_its_own() -> None:
    root = Path(extism_kernel_pkg.__file__).parents[1]
    subprocess.run([sys.executable, "-c", FORKING], cwd=root, check=True, timeout=120)


def test_host_function_reads_the_time_that_is_left(load: Callable[..., Plugin]) -> None:
    seen: list[float | None] = []

    def shout(current: CurrentPlugin, text: str) -> str:
        seen.append(current.time_left)
        return text

    offered = {"functions": [host_function(shout)]}
    load("shout", options=offered).call("shout", "x")
    load("shout", options=offered, timeout_ms=5000).call("shout", "x")
    assert seen[0] is None
    assert seen[1] is not None
    assert 0 < seen[1] <= 5


def test_host_function_sees_that_its_time_is_over(load: Callable[..., Plugin]) -> None:
    seen: list[object] = []

    def shout(current: CurrentPlugin, text: str) -> str:
        seen.append(current.is_stopped)
        while not current.is_stopped:
            time.sleep(0.005)
        seen.append(current.time_left)
        return text

    plugin = load("shout", options={"functions": [host_function(shout)]}, timeout_ms=200)
    with pytest.raises(PluginTimeoutError):
        plugin.call("shout", "x")
    assert seen == [False, 0.0]


def test_host_function_sees_that_it_was_cancelled(load: Callable[..., Plugin]) -> None:
    left: list[float | None] = []

    def shout(current: CurrentPlugin, text: str) -> str:
        while not current.is_stopped:
            time.sleep(0.005)
        left.append(current.time_left)
        return text

    plugin = load("shout", options={"functions": [host_function(shout)]}, timeout_ms=60_000)
    threading.Timer(0.1, plugin.cancel).start()
    with pytest.raises(PluginCancelledError):
        plugin.call("shout", "x")
    assert left[0] is not None
    assert left[0] > 0  # so it was not the time limit
