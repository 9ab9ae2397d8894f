"""`PluginPool`: its bound, what one user leaves for the next (nothing), and what is broken and replaced."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    GuestError,
    ManifestError,
    PluginCancelledError,
    PluginClosedError,
    PluginPool,
    PluginTrapError,
    PooledPlugin,
    PoolTimeoutError,
    host_function,
)

from .conftest import number, request, wat, wat_path
from .test_interrupt import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Server


@pytest.fixture(scope="module")
def kit() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("kit")], "allowed_hosts": ["127.0.0.1"]})


@pytest.fixture(scope="module")
def hostile() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("hostile")]})


@pytest.fixture
def pool(kit: CompiledPlugin) -> Iterator[PluginPool]:
    with PluginPool(kit, size=2) as made:
        yield made


def test_plugins_are_made_when_needed_and_used_again(pool: PluginPool) -> None:
    assert pool.counters.made == 1
    for _ in range(5):
        assert pool.call("echo", b"x") == b"x"
    assert pool.counters.made == 1
    with pool.acquire() as one, pool.acquire() as two:
        assert (one.call("echo", b"1"), two.call("echo", b"2")) == (b"1", b"2")
        assert pool.counters.in_use == 2
    counters = pool.counters
    assert (counters.calls, counters.made, counters.in_use, counters.waits) == (7, 2, 0, 0)


def test_size_is_the_bound(pool: PluginPool) -> None:
    with pool.acquire(), pool.acquire():
        with pytest.raises(PoolTimeoutError, match=r"none of the pool's 2 .* within 0.05 s") as caught:
            pool.call("echo", timeout=0.05)
        with pytest.raises(PoolTimeoutError), pool.acquire(timeout=0):
            pass
    assert "larger `size`" in caught.value.render()
    counters = pool.counters
    assert (counters.waits, counters.timeouts, counters.made, counters.in_use) == (2, 2, 2, 0)
    assert pool.call("echo", b"x", timeout=0) == b"x"


def test_who_waits_gets_the_next_that_is_free(kit: CompiledPlugin) -> None:
    with PluginPool(kit, size=1) as pool:
        got: list[float] = []

        def wait() -> None:
            pool.call("echo", b"x", timeout=60)
            got.append(time.monotonic())

        thread = threading.Thread(target=wait)
        with pool.acquire():
            thread.start()
            while not pool.counters.waits:
                time.sleep(0.001)
            assert not got
        thread.join(20)
        assert len(got) == 1


def test_next_user_finds_nothing_of_the_one_before(kit: CompiledPlugin, server: Server) -> None:
    with PluginPool(kit, size=1) as pool:
        with pool.acquire() as plugin:
            plugin.call("http", request(server.url("/hello")))
            plugin.call("set", b"secret")
            assert plugin.call("get") == b"secret"
            assert number(plugin.call("status")) == 200
            plugin.call("count")
            assert number(plugin.call("count")) == 2
            kept_vars = plugin.vars
        with pool.acquire() as plugin:
            assert plugin.call("get") == b""
            assert number(plugin.call("status")) == 0
            assert number(plugin.call("count")) == 1
            plugin.call("set", b"other")
            assert dict(kept_vars) == {"k": b"secret"}
        assert pool.counters.made == 1


@pytest.mark.parametrize("what", ["call", "vars", "function_exists", "reset", "close", "call_async"])
def test_plugin_that_is_kept_ends_with_its_block(pool: PluginPool, what: str) -> None:
    with pool.acquire() as kept:
        assert kept.function_exists("echo")

    def use() -> object:
        if what == "call_async":
            return asyncio.run(kept.call_async("echo"))
        if what == "vars":
            return kept.vars
        return getattr(kept, what)(*(["echo"] if what in {"call", "function_exists"} else []))

    with pool.acquire() as other:
        with pytest.raises(PluginClosedError, match="given back to its pool"):
            use()
        assert not kept.cancel()
        assert other.call("echo", b"x") == b"x"


def test_errors_leave_a_plugin_that_works(pool: PluginPool) -> None:
    for _ in range(3):
        with pytest.raises(GuestError, match="boom"):
            pool.call("fail", b"boom")
        with pytest.raises(PluginTrapError):
            pool.call("trap")
        assert pool.call("echo", b"x") == b"x"
    assert (pool.counters.made, pool.counters.replaced) == (1, 0)


def test_plugin_that_its_user_closed_is_replaced(pool: PluginPool) -> None:
    with pool.acquire() as plugin:
        plugin.call("echo")
        plugin.close()
        with pytest.raises(PluginClosedError):
            plugin.call("echo")
    assert pool.call("echo", b"x") == b"x"
    counters = pool.counters
    assert (counters.made, counters.replaced, counters.calls) == (2, 1, 2)


def test_plugin_that_is_still_busy_is_replaced(hostile: CompiledPlugin) -> None:
    ends: list[BaseException] = []

    def loop(plugin: PooledPlugin) -> None:
        try:
            plugin.call("loop")
        except PluginCancelledError as error:
            ends.append(error)

    with PluginPool(hostile, size=1) as pool:
        with pool.acquire() as plugin:
            thread = threading.Thread(target=loop, args=(plugin,))
            thread.start()
            while not pool.counters.calls:
                time.sleep(0.001)
            time.sleep(0.02)
        assert pool.call("fine", b"x") == b"x"
        thread.join(20)
        assert len(ends) == 1
        assert (pool.counters.made, pool.counters.replaced) == (2, 1)


def test_options_are_checked_when_the_pool_is_made(kit: CompiledPlugin) -> None:
    with pytest.raises(ManifestError, match="`timeout_ms` is 0"):
        PluginPool(kit, size=3, timeout_ms=0)
    with pytest.raises(ValueError, match="`size` is 1 or more"):
        PluginPool(kit, size=0)


def test_options_reach_every_plugin() -> None:
    def shout(text: str) -> str:
        return text.upper()

    with (
        PluginPool({"wasm": [wat("shout")]}, size=2, functions=[host_function(shout)]) as pool,
        pool.acquire() as one,
        pool.acquire() as two,
    ):
        assert (one.call("shout", "a"), two.call("shout", "b")) == (b"A", b"B")


def test_closed_pool_serves_nobody(kit: CompiledPlugin) -> None:
    pool = PluginPool(kit, size=1)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            pool.call("echo")
        except PluginClosedError as error:
            failed.append(error)

    with pool.acquire() as plugin:
        thread = threading.Thread(target=wait)
        thread.start()
        while not pool.counters.waits:
            time.sleep(0.001)
        pool.close()
        thread.join(20)
        assert len(failed) == 1
        assert plugin.call("echo", b"x") == b"x"  # its user has it until the end of the block
    with pytest.raises(PluginClosedError, match="the pool was closed"):
        pool.call("echo")
    pool.close()
    assert (pool.counters.in_use, pool.counters.replaced) == (0, 0)


def test_pool_frees_its_plugins(kit: CompiledPlugin) -> None:
    pool = PluginPool(kit, size=1)
    pool.call("echo")
    plugin = weakref.ref(pool._slots[0].plugin or pool)
    pool.close()
    assert plugin() is None
    pool = PluginPool(kit, size=1)
    pool.call("echo")
    plugin = weakref.ref(pool._slots[0].plugin or pool)
    del pool
    gc.collect()
    assert plugin() is None


def test_many_threads_share_few_plugins(kit: CompiledPlugin) -> None:
    wrong: list[object] = []
    with PluginPool(kit, size=3) as pool:

        def work(me: int) -> None:
            for i in range(25):
                with pool.acquire(timeout=120) as plugin:
                    text = f"{me}-{i}".encode()
                    plugin.call("set", text)
                    if plugin.call("echo", text) != text or plugin.call("get") != text:
                        wrong.append(text)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counters = pool.counters
    assert not wrong
    assert (counters.calls, counters.in_use, counters.replaced, counters.timeouts) == (12 * 25 * 3, 0, 0, 0)
    assert 1 <= counters.made <= 3
    assert counters.waits > 0


def test_many_tasks_share_few_plugins(kit: CompiledPlugin) -> None:
    async def main() -> None:
        with PluginPool(kit, size=3) as pool:
            before = threading.active_count()

            async def work(i: int) -> bytes:
                async with pool.acquire_async(timeout=120) as plugin:
                    await plugin.call_async("set", str(i))
                    return await plugin.call_async("get")

            assert await asyncio.gather(*map(work, range(100))) == [str(i).encode() for i in range(100)]
            assert threading.active_count() <= before + 3 + 1  # who waits occupies no thread
            assert (pool.counters.calls, pool.counters.in_use, pool.counters.made) == (200, 0, 3)
            assert await pool.call_async("echo", b"x") == b"x"

    asyncio.run(main())


def test_task_that_waits_times_out_or_is_cancelled(hostile: CompiledPlugin) -> None:
    async def main() -> None:
        with PluginPool(hostile, size=1) as pool:
            async with pool.acquire_async():
                with pytest.raises(PoolTimeoutError):
                    await pool.call_async("fine", timeout=0.05)
                task = asyncio.create_task(pool.call_async("fine", b"x"))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert not pool._waiters
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pool.call_async("loop"), 0.1)
            assert pool.counters.in_use == 0
            assert await pool.call_async("fine", b"next", timeout=20) == b"next"
            assert pool.counters.made == 1

    asyncio.run(main())


def test_tasks_and_threads_wait_for_the_same_plugin(kit: CompiledPlugin) -> None:
    with PluginPool(kit, size=1) as pool:
        done: list[bytes] = []

        def work(i: int) -> None:
            done.extend(pool.call("echo", b"%d" % (i % 10), timeout=120) for _ in range(20))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()

        async def main() -> None:
            calls = (pool.call_async("echo", b"a", timeout=120) for _ in range(60))
            done.extend(await asyncio.gather(*calls))

        asyncio.run(main())
        for thread in threads:
            thread.join()
        assert sorted(done) == [b"0"] * 20 + [b"1"] * 20 + [b"2"] * 20 + [b"a"] * 60
        assert (pool.counters.made, pool.counters.in_use) == (1, 0)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGALRM")
def test_interrupts_at_any_moment_lose_no_plugin() -> None:
    run(f"""
        import random
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        pool = PluginPool({{"wasm": [{{"path": {str(wat_path("kit"))!r}}}]}}, size=1)
        pool.call("echo", b"warm")
        came = 0
        for i in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + random.random() / 200)
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    with pool.acquire(timeout=5) as plugin:
                        plugin.call("set", b"mine")
            except KeyboardInterrupt:
                came += 1
            assert pool.counters.in_use == 0
            with pool.acquire(timeout=5) as plugin:
                assert plugin.call("get") == b""
        assert came == 200, came
    """)
