"""Ctrl-C and other signals: they end the call where it is, and the next call works."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import extism_kernel_pkg
from extism_kernel_pkg.host.interrupt import (
    HEARTBEAT,
    Cancellation,
    InterruptedCallError,
    Interrupter,
    Reason,
)

from .conftest import request, wat_path

if TYPE_CHECKING:
    from .conftest import Server

pytestmark = pytest.mark.skipif(os.name == "nt", reason="os.kill(SIGINT) ends the process there")

PRELUDE = """
import os, signal, sys, threading, time
from extism_kernel_pkg.host import *

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in some test runs

def interrupt(after=0.4, signum=signal.SIGINT):
    def run():
        time.sleep(after)
        os.kill(os.getpid(), signum)
    threading.Thread(target=run, daemon=True).start()

def check(plugin, name, data, expected=KeyboardInterrupt, slack=1.0):
    interrupt()
    began = time.monotonic()
    try:
        plugin.call(name, data)
    except expected as error:
        took = time.monotonic() - began
        assert took < 0.4 + slack, took
        return error
    raise AssertionError("nothing was raised")
"""


def run(body: str, *args: str) -> None:
    """Run a program that must end well and print nothing, for what is printed was lost."""
    root = Path(extism_kernel_pkg.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), *args],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


@pytest.fixture(params=["{}", '{"timeout_ms": 60_000}'], ids=["no-limit", "limit"])
def limit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_interrupt_ends_guest_code(limit: str) -> None:
    run(f"""
        plugin = Plugin({{"wasm": [{{"path": {str(wat_path("hostile"))!r}}}], **{limit}}})
        for _ in range(3):
            check(plugin, "loop", b"")
            assert plugin.call("fine", b"next") == b"next"
    """)


def test_interrupt_ends_a_start_function(limit: str) -> None:
    run(f"""
        source = b'(module (start $f) (func $f (loop $l (br $l))) (func (export "f")))'
        plugin = Plugin({{"wasm": [{{"data": source}}], **{limit}}})
        check(plugin, "f", b"")
        check(plugin, "f", b"")
    """)


def test_interrupt_ends_a_host_function(limit: str) -> None:
    run(f"""
        slow = [True]
        def shout(text: str) -> str:
            if slow:
                slow.clear()
                time.sleep(30)
            return text.upper()
        plugin = Plugin(
            {{"wasm": [{{"path": {str(wat_path("shout"))!r}}}], **{limit}}}, functions=[host_function(shout)]
        )
        check(plugin, "shout", b"x")
        assert plugin.call("shout", b"next") == b"NEXT"
    """)


def test_interrupt_ends_a_guest_that_calls_the_host_in_a_loop(limit: str) -> None:
    run(f"""
        source = b'''(module (import "extism:host/env" "get_log_level" (func $level (result i32)))
            (func (export "busy") (loop $l (drop (call $level)) (br $l))) (func (export "f")))'''
        plugin = Plugin({{"wasm": [{{"data": source}}], **{limit}}})
        for _ in range(5):
            check(plugin, "busy", b"")
            assert plugin.call("f") == b""
    """)


def test_interrupt_ends_a_sleep(limit: str) -> None:
    run(f"""
        plugin = Plugin({{"wasm": [{{"path": {str(wat_path("wasi"))!r}}}], **{limit}}})
        check(plugin, "sleep_an_hour", b"")
        assert plugin.call("sleep_a_little") != b""
    """)


def test_interrupt_ends_http(limit: str, server: Server) -> None:
    run(f"""
        manifest = {{"wasm": [{{"path": {str(wat_path("kit"))!r}}}], "allowed_hosts": ["127.0.0.1"]}}
        plugin = Plugin({{**manifest, **{limit}}})
        check(plugin, "http", {request(server.url("/slow"))!r})
        assert plugin.call("http", {request(server.url("/hello"))!r}) == b"hello"
    """)


def test_interrupt_ends_the_wait_for_a_compilation() -> None:
    run("""
        body = "(i32.add (local.get 0) " * 50 + "(i32.const 1)" + ")" * 50
        functions = "".join(f"(func (param i32) (result i32) {body})" for _ in range(60_000))
        from wasmtime import wat2wasm
        wasm = bytes(wat2wasm(f"(module {functions} (func (export \\"f\\")))"))
        assert Plugin('(module (func (export "f")))').call("f") == b""  # all is imported
        interrupt(0.2)
        began = time.monotonic()
        try:
            Plugin(wasm)
        except KeyboardInterrupt:
            took = time.monotonic() - began
            assert took < 3, took  # a second, on a machine that compiles on all cores
        else:
            raise AssertionError("too fast for this test")
        assert Plugin('(module (func (export "f")))').call("f") == b""
        os._exit(0)  # the compilation goes on
    """)


@pytest.mark.parametrize("raised", ["SystemExit", "LookupError"])
def test_exception_of_another_signals_handler_arrives_as_it_is(raised: str) -> None:
    run(f"""
        def handler(*_):
            raise {raised}("asked to")
        signal.signal(signal.SIGUSR1, handler)
        plugin = Plugin({{"wasm": [{{"path": {str(wat_path("hostile"))!r}}}]}})
        def send():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(3):
            threading.Thread(target=send, daemon=True).start()
            try:
                plugin.call("loop")
            except BaseException as error:
                cause = error.__cause__ if isinstance(error, HostFunctionError) else error
                assert repr(cause) == "{raised}('asked to')", repr(error)
            assert plugin.call("fine", b"next") == b"next"
    """)


def test_signal_whose_handler_returns_leaves_the_call_alone() -> None:
    run(f"""
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.monotonic()))
        plugin = Plugin({{"wasm": [{{"path": {str(wat_path("hostile"))!r}}}], "timeout_ms": 1500}})
        began = time.monotonic()
        interrupt(0.3, signal.SIGUSR1)
        try:
            plugin.call("loop")
        except PluginTimeoutError:
            pass
        assert seen and seen[0] - began < 1.3
    """)


def test_interrupts_at_any_moment_leave_a_working_plugin() -> None:
    run(f"""
        import random
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        def shout(text: str) -> str:
            return text.upper()
        plugin = Plugin({{"wasm": [{{"path": {str(wat_path("shout"))!r}}}], "timeout_ms": 60_000}},
                        functions=[host_function(shout)])
        plugin.call("shout", b"warm")
        came = 0
        for i in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + random.random() / 100)
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    assert plugin.call("shout", b"abc") == b"ABC"
            except KeyboardInterrupt:
                came += 1
            assert plugin.call("shout", b"next") == b"NEXT"
        assert came == 200, came
    """)


def test_stop_is_repeated_until_the_call_ends() -> None:
    ticks: list[float] = []
    interrupter = Interrupter(lambda: ticks.append(time.monotonic()))
    with interrupter.running(None):
        assert interrupter.stop(Reason.CANCEL)
        time.sleep(3.5 * HEARTBEAT)
        assert len(ticks) >= 3  # the runtime may not have noticed the first
    ended = len(ticks)
    time.sleep(2.5 * HEARTBEAT)
    assert len(ticks) == ended


def test_cancellation_ends_its_own_call_alone() -> None:
    interrupter = Interrupter(lambda: None)
    early, late = Cancellation(), Cancellation()
    interrupter.cancel(early)
    interrupter.start(None, cancellation=early)
    with pytest.raises(InterruptedCallError):
        interrupter.check()
    interrupter.finish()
    interrupter.start(None, cancellation=late)
    interrupter.cancel(early)
    interrupter.check()
    interrupter.cancel(late)
    with pytest.raises(InterruptedCallError):
        interrupter.check()
    interrupter.finish()
    interrupter.cancel(late)
    interrupter.start(None)
    interrupter.check()
    interrupter.finish()


def test_first_call_leaves_no_garbage_that_is_freed_in_python_code() -> None:
    """Python drops the interrupt that comes there; the collector can run at any moment."""
    run("""
        import gc
        gc.disable()
        gc.collect()
        plugin = Plugin('(module (func (export "f")))')
        plugin.call("f")
        plugin.close()
        entered = []
        def note(frame, event, _):
            if event == "call":
                entered.append((frame.f_code.co_filename, frame.f_code.co_name))
        sys.setprofile(note)
        gc.collect()
        sys.setprofile(None)
        assert entered == [], entered
    """)
