"""What an error tells of the call that it ended: frames, limits, the kernel, its cause."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    Frame,
    GuestError,
    HostFunctionError,
    KernelUse,
    LimitUse,
    Plugin,
    PluginError,
    PluginExitError,
    PluginTimeoutError,
    PluginTrapError,
    host_function,
)
from extism_kernel_pkg.host.frames import parse_frames

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = """(module $mod
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "free" (func $free (param i64)))
    (import "extism:host/env" "error_set" (func $error_set (param i64)))
    (import "extism:host/env" "var_get" (func $var_get (param i64) (result i64)))
    (import "extism:host/user" "refuse" (func $refuse))
    (func $inner unreachable)
    (func $outer (call $inner))
    (func (export "trap") (call $outer))
    (func $loop_for_ever (loop $l (br $l)))
    (func (export "hang") (call $loop_for_ever))
    (func (export "refused") (call $refuse))
    (func (export "hold")
      (drop (call $alloc (i64.const 100)))
      (call $free (call $alloc (i64.const 7)))
      (drop (call $alloc (i64.const 5000)))
      (call $inner))
    (func (export "report_and_trap") (call $error_set (call $alloc (i64.const 3))) (call $inner))
    (func (export "exit") (result i32) (i32.const 3)))"""


def refuse() -> None:
    raise ZeroDivisionError("by me")


def fail(export: str, data: bytes = b"", **more: object) -> PluginError:
    manifest = {"wasm": [{"data": NAMED.encode()}], **more}
    with Plugin(manifest, functions=[host_function(refuse)]) as plugin, pytest.raises(PluginError) as caught:
        plugin.call(export, data)
    return caught.value


def functions(error: PluginError) -> list[str]:
    return [frame.function.removeprefix("mod!") for frame in error.frames]


def test_trap_tells_its_frames_and_keeps_the_runtimes_error() -> None:
    error = fail("trap")
    assert isinstance(error, PluginTrapError)
    assert functions(error)[:2] == ["inner", "outer"]
    assert error.frames[0].offset
    assert "wasm backtrace" in str(error.__cause__)
    assert "frames:\n  mod!inner (offset 0x" in error.render()


def test_timeout_tells_where_the_guest_was() -> None:
    error = fail("hang", timeout_ms=200)
    assert isinstance(error, PluginTimeoutError)
    assert functions(error)[0] == "loop_for_ever"
    time = next(limit for limit in error.limits if limit.name == "time")
    assert (time.limit, time.unit, time.is_near) == (200, "ms", True)
    assert time.used >= 200
    assert "of 200 ms, near its limit" in error.render()


def test_refusal_tells_which_function_of_the_guest_called() -> None:
    error = fail("refused")
    assert isinstance(error, HostFunctionError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert len(error.frames) == 1


def test_error_of_the_guest_has_the_frames_of_the_trap_after_it() -> None:
    error = fail("report_and_trap")
    assert isinstance(error, GuestError)
    assert functions(error)[0] == "inner"
    assert isinstance(error.__cause__, PluginTrapError)


def test_result_other_than_zero_has_no_frames() -> None:
    error = fail("exit")
    assert isinstance(error, PluginExitError)
    assert error.frames == ()
    assert "frames" not in error.render()


def test_kernels_live_blocks_are_counted_with_the_input() -> None:
    assert fail("hold", b"input").kernel == KernelUse(blocks=3, bytes=5105, pages=2)
    assert fail("trap").kernel == KernelUse(blocks=0, bytes=0, pages=2)


def test_limits_are_told_with_what_was_used() -> None:
    error = fail("trap", memory={"max_pages": 100, "max_var_bytes": 50}, timeout_ms=60_000)
    used = {limit.name: (limit.used, limit.limit) for limit in error.limits}
    assert used["memory"] == (2, 100)
    assert used["vars"] == (0, 50)
    assert used["time"][1] == 60_000
    assert not any(limit.is_near for limit in error.limits)


def test_vars_near_their_limit_are_told(load: Callable[..., Plugin]) -> None:
    plugin = load("hostile", memory={"max_var_bytes": 50})
    plugin.vars["name"] = b"x" * 40
    with pytest.raises(PluginTrapError) as caught:
        plugin.call("recurse")
    assert LimitUse(name="vars", used=44, limit=50, unit="bytes") in caught.value.limits
    assert "vars 44 of 50 bytes, near its limit" in caught.value.render()
    assert " times\n" in caught.value.render()


def test_memory_is_told_for_a_start_function_that_traps() -> None:
    source = '(module (memory 1) (start $boom) (func $boom unreachable) (func (export "f")))'
    with Plugin(source) as plugin, pytest.raises(PluginTrapError) as caught:
        plugin.call("f")
    assert [frame.function for frame in caught.value.frames] == ["boom"]


def test_error_crosses_processes_with_all_that_it_tells() -> None:
    error = fail("hold", timeout_ms=60_000)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert copy.render() == error.render()
    assert (copy.frames, copy.limits, copy.kernel) == (error.frames, error.limits, error.kernel)


def test_text_of_the_guest_cannot_steer_a_terminal(load: Callable[..., Plugin]) -> None:
    with pytest.raises(GuestError) as caught:
        load("kit").call("fail", "\x1b[2Jred\nerror[oom]: forged")
    assert str(caught.value) == "\x1b[2Jred\nerror[oom]: forged"
    assert caught.value.render().startswith("error[guest-error]: \\x1b[2Jred\n  error[oom]: forged\n")


MESSAGES = {
    "no-backtrace": ("wasm trap: call stack exhausted", ()),
    "index-only": (
        "error while executing at wasm backtrace:\n    0:     0x47 - <unknown>!<wasm function 0>\n",
        (Frame(function="<wasm function 0>", offset=0x47),),
    ),
    "rust": (
        (
            "error while executing at wasm backtrace:\n"
            "    0:   0x1b57 - std[f839c7267e543978]::sys::abort\n"
            "                - std[f839c7267e543978]::process::abort\n"
            "                    at /rustc/process.rs:2536:5\n"
            "    1:    0x157 - lib::divide::h660748436f018e77\n"
            "                    at C:\\src\\lib.rs:2:48\n"
            "\nCaused by:\n    wasm trap: wasm `unreachable` instruction executed\n"
        ),
        (
            Frame(function="std::sys::abort", offset=0x1B57),
            Frame(function="std::process::abort", offset=0x1B57, file="/rustc/process.rs", line=2536),
            Frame(function="lib::divide", offset=0x157, file="C:\\src\\lib.rs", line=2),
        ),
    ),
    "hostile-name": (
        "error while executing at wasm backtrace:\n    0: 0x1 - m!\x1b[31mx\n",
        (Frame(function="m!\\x1b[31mx", offset=1),),
    ),
}


@pytest.mark.parametrize(("message", "frames"), MESSAGES.values(), ids=MESSAGES)
def test_frames_are_read_from_the_runtimes_message(message: str, frames: tuple[Frame, ...]) -> None:
    assert parse_frames(message) == frames
