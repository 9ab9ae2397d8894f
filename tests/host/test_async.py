"""Calls from asyncio: they leave the loop free, end with their task, and never another call."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    CurrentPlugin,
    FunctionNotFoundError,
    GuestError,
    Plugin,
    PluginBusyError,
    PluginCancelledError,
    PluginTimeoutError,
    host_function,
    threads,
)
from extism_kernel_pkg.host.threads import WorkerThreads

from .conftest import wat

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def hostile() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("hostile")]})


@pytest.fixture(scope="module")
def shouting() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("shout")]})


def run_within(seconds: float, main: Callable[[], object]) -> None:
    """Run a coroutine function as a program does, the end of its loop included."""
    began = time.monotonic()
    asyncio.run(main())  # type: ignore[arg-type]
    assert time.monotonic() - began < seconds


def test_call_gives_output_and_errors(load: Callable[..., Plugin]) -> None:
    plugin = load("kit")

    async def main() -> None:
        assert await plugin.call_async("echo", "text") == b"text"
        with pytest.raises(GuestError, match="boom"):
            await plugin.call_async("fail", b"boom")
        with pytest.raises(FunctionNotFoundError):
            await plugin.call_async("no_such")
        with pytest.raises(TypeError):
            await plugin.call_async("echo", 5)  # type: ignore[arg-type]
        assert await plugin.call_async("echo", b"next") == b"next"

    run_within(20, main)


def test_calls_of_several_plugins_run_at_once(hostile: CompiledPlugin) -> None:
    async def main() -> None:
        looping, other = Plugin(hostile, timeout_ms=600), Plugin(hostile)
        task = asyncio.create_task(looping.call_async("loop"))
        assert [await other.call_async("fine", b"x") for _ in range(20)] == [b"x"] * 20
        assert not task.done()
        with pytest.raises(PluginTimeoutError):
            await task

    run_within(20, main)


def test_second_call_of_one_plugin_is_refused(hostile: CompiledPlugin) -> None:
    async def main() -> None:
        plugin = Plugin(hostile, timeout_ms=500)
        task = asyncio.create_task(plugin.call_async("loop"))
        await asyncio.sleep(0.1)
        with pytest.raises(PluginBusyError):
            await plugin.call_async("fine")
        with pytest.raises(PluginTimeoutError):
            await task

    run_within(20, main)


def test_task_that_is_cancelled_stops_the_guest(hostile: CompiledPlugin) -> None:
    plugin = Plugin(hostile)

    async def main() -> None:
        for pause in (0.0, 0.001, 0.05):  # before the call, as it begins, while it runs
            task = asyncio.create_task(plugin.call_async("loop"))
            await asyncio.sleep(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await plugin.call_async("fine", b"next") == b"next"

    run_within(20, main)


def test_wait_for_stops_the_guest(hostile: CompiledPlugin) -> None:
    plugin = Plugin(hostile)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(plugin.call_async("loop"), 0.1)
        assert await plugin.call_async("fine", b"next") == b"next"

    run_within(20, main)


def test_cancel_of_another_thread_is_an_error_of_the_call(hostile: CompiledPlugin) -> None:
    plugin = Plugin(hostile)

    async def main() -> None:
        threading.Timer(0.2, plugin.cancel).start()
        with pytest.raises(PluginCancelledError):
            await plugin.call_async("loop")

    run_within(20, main)


def test_loop_that_ends_stops_its_calls(hostile: CompiledPlugin) -> None:
    plugins = [Plugin(hostile) for _ in range(5)]

    async def main() -> None:
        kept = [asyncio.create_task(plugin.call_async("loop")) for plugin in plugins]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in kept)

    run_within(10, main)
    assert [plugin.call("fine", b"x") for plugin in plugins] == [b"x"] * 5


def test_start_function_is_stopped_too() -> None:
    plugin = Plugin('(module (start $f) (func $f (loop $l (br $l))) (func (export "f")))')

    async def main() -> None:
        for pause in (0.0, 0.001, 0.005, 0.1):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(plugin.call_async("f"), pause)

    run_within(20, main)


def test_loop_ends_while_a_host_function_does_not(
    shouting: CompiledPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "CANCEL_SECONDS", 0.2)
    go_on = threading.Event()

    def shout(text: str) -> str:
        go_on.wait(60)
        return text.upper()

    plugin = Plugin(shouting, functions=[host_function(shout)])

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(plugin.call_async("shout", "x"), 0.2)
        with pytest.raises(PluginBusyError):
            await plugin.call_async("shout", "y")

    run_within(10, main)
    go_on.set()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            assert plugin.call("shout", "next") == b"NEXT"
            break
        except PluginBusyError:
            time.sleep(0.01)
    else:
        pytest.fail("the call did not end")


def test_host_function_sees_that_its_task_was_cancelled(shouting: CompiledPlugin) -> None:
    ended = threading.Event()

    def shout(current: CurrentPlugin, text: str) -> str:
        while not current.is_stopped:
            time.sleep(0.005)
        ended.set()
        return text

    plugin = Plugin(shouting, functions=[host_function(shout)])

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(plugin.call_async("shout", "x"), 0.2)
        assert ended.is_set()

    run_within(10, main)


def test_host_function_sees_context_variables(shouting: CompiledPlugin) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")

    def shout(text: str) -> str:
        return f"{text} of {tenant.get()}"

    plugins = [Plugin(shouting, functions=[host_function(shout)]) for _ in range(3)]

    async def ask(plugin: Plugin, name: str) -> bytes:
        tenant.set(name)
        return await plugin.call_async("shout", "data")

    async def main() -> None:
        asked = (ask(plugin, name) for plugin, name in zip(plugins, "abc", strict=True))
        assert await asyncio.gather(*asked) == [b"data of a", b"data of b", b"data of c"]

    run_within(20, main)


@pytest.mark.filterwarnings("error")
def test_plugin_of_a_call_is_not_kept(hostile: CompiledPlugin) -> None:
    async def main() -> weakref.ref[Plugin]:
        plugin = Plugin(hostile)
        await plugin.call_async("fine", b"x")
        return weakref.ref(plugin)

    kept = asyncio.run(main())
    gc.collect()
    assert kept() is None


def test_threads_are_bounded_and_end_when_idle() -> None:
    workers = WorkerThreads(3, idle_seconds=0.2)
    running, most, lock = [0], [0], threading.Lock()

    def work() -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return threading.get_ident()

    before = threading.active_count()
    results = [workers.submit(work) for _ in range(30)]
    assert len({result.result(20) for result in results}) == 3
    assert most[0] == 3
    time.sleep(1)
    assert threading.active_count() <= before
    assert workers.submit(lambda: 5).result(20) == 5


def test_thread_is_used_again() -> None:
    workers = WorkerThreads(8, idle_seconds=5)
    used = set()
    for _ in range(20):
        used.add(workers.submit(threading.get_ident).result(20))
        time.sleep(0.005)  # until it waits again
    assert len(used) <= 2


def test_job_that_is_cancelled_while_it_waits_never_runs() -> None:
    workers = WorkerThreads(1, idle_seconds=1)
    go_on, ran = threading.Event(), []
    first = workers.submit(lambda: go_on.wait(20))
    second = workers.submit(lambda: ran.append(2))
    third = workers.submit(lambda: ran.append(3))
    assert second.cancel()
    go_on.set()
    third.result(20)
    assert first.result(20)
    assert ran == [3]
