"""`tests/examples/wasm3_host.py`: the contract alone makes a host on another runtime that answers alike."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from extism_kernel_pkg.host import (
    F64,
    I32,
    TRACE,
    U64,
    GuestError,
    HostFunctionError,
    Json,
    Plugin,
    PluginError,
    PluginExitError,
    PluginOutOfMemoryError,
    PluginTrapError,
    host_function,
)

from .conftest import number, wat_path

if TYPE_CHECKING:
    from types import ModuleType

pytest.importorskip("wasm3", reason="`pip install pywasm3` makes it, with a C compiler")

EXAMPLE = Path(__file__).parents[1] / "examples" / "wasm3_host.py"
CONFIG = {"key": "value"}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wasm3_host", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wasm(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat_path(name).read_text(encoding="utf-8")))


def answer(call: Any, name: str, data: bytes) -> tuple[type[Exception] | None, bytes | str]:  # noqa: ANN401
    """Kind and words of the error, or the output."""
    try:
        return None, call(name, data)
    except PluginTrapError as error:  # runtimes have their own words for traps
        return type(error), ""
    except PluginError as error:
        return type(error), str(error)


CALLS = (
    *(("echo", data) for data in (b"", b"x", bytes(range(256)), b"a" * 200_000)),
    *(("tail", b"some input"), ("set_then_clear", b"x"), ("nothing", b""), ("no_result", b"")),
    *((name, b"boom") for name in ("fail", "fail_with_zero", "fail_and_trap", "fail_with_output")),
    *(("exit_7", b""), ("trap", b""), ("echo", b"after a trap")),
    *(("config", b"key"), ("config", b"none"), ("config", b"\xff"), ("config_of_input", b"key")),
    *(("set", b"one"), ("get", b""), ("set", b""), ("get", b""), ("bad_handle", b"")),
    *(("argument_is_freed", b"key"), ("filtered_log_is_freed", b"text"), ("status", b"")),
    ("echo", b"last"),
)


def test_answers_are_those_of_the_reference_host(example: ModuleType) -> None:
    other = example.WasmThreePlugin(wasm("kit"), config=CONFIG)
    with Plugin({"wasm": [{"data": wasm("kit")}], "config": CONFIG}) as plugin:
        for name, data in CALLS:
            assert answer(other.call, name, data) == answer(plugin.call, name, data), (name, data[:20])
        assert other.vars == plugin.vars


def test_errors_are_those_of_the_contract(example: ModuleType) -> None:
    plugin = example.WasmThreePlugin(wasm("kit"))
    with pytest.raises(GuestError, match=r"^boom$") as caught:
        plugin.call("fail_and_trap", b"boom")
    assert isinstance(caught.value.__cause__, PluginTrapError)
    with pytest.raises(PluginTrapError, match="unreachable"):
        plugin.call("trap", b"")
    with pytest.raises(PluginExitError, match="7"):
        plugin.call("exit_7", b"")
    with pytest.raises(HostFunctionError, match="no HTTP requests"):
        plugin.call("http", b"{}")
    with pytest.raises(HostFunctionError, match="invalid handle"):
        plugin.call("bad_handle", b"")


def test_memory_that_is_refused_is_out_of_memory(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = example.WasmThreePlugin(wasm("kit"))
    call = plugin._kernel.call
    monkeypatch.setattr(
        plugin._kernel, "call", lambda name, *args: 0 if name == "alloc" else call(name, *args)
    )
    with pytest.raises(PluginOutOfMemoryError, match=r"oom: `alloc\(1\)` was refused"):
        plugin.call("echo", b"x")


def test_logs_and_their_level(example: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    logged: list[tuple[str, str]] = []
    plugin = example.WasmThreePlugin(wasm("kit"), log=lambda level, text: logged.append((level, text)))
    plugin.call("log_all", b"hello")
    assert logged == [(level, "hello") for level in ("trace", "debug", "info", "warn", "error")]
    logger = logging.getLogger("test.wasm3")
    with caplog.at_level(TRACE, logger="test.wasm3"), Plugin(wasm("kit"), logger=logger) as reference:
        assert plugin.call("log_level", b"") == reference.call("log_level")


def test_functions_of_the_application_and_of_both_generations(example: ModuleType) -> None:
    seen: list[object] = []

    def shout(text: str) -> str:
        return text.upper()

    def total(a: I32, b: int, c: F64) -> U64:
        seen.append((a, b, c))
        return 2**64 - 1

    def note(value: Json) -> None:
        seen.append(value)

    functions = [host_function(shout), host_function(total, name="sum"), host_function(note)]
    plugin = example.WasmThreePlugin(wasm("user"), functions=functions)
    assert plugin.call("shout", b"abc") == b"ABC"
    assert number(plugin.call("sum", b"")) == 2**64 - 1
    plugin.call("note", b'{"a": 1}')
    assert seen == [(-1, -2, 10.5), {"a": 1}]
    old = example.WasmThreePlugin(wasm("old"), config=CONFIG, functions=functions)
    assert [old.call("echo", b"x"), old.call("config", b"key")] == [b"x", b"value"]
    with pytest.raises(GuestError, match=r"^boom$"):
        old.call("fail", b"boom")


def test_example_runs_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "hello.wasm").write_bytes(wasm("hello"))

    def run(*args: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLE.parents[2])}
        argv = [sys.executable, str(EXAMPLE), *args]
        return subprocess.run(
            argv, cwd=tmp_path, input=b"you", env=environment, capture_output=True, check=False
        )

    done = run("hello.wasm", "greet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello, you", b"")
    for args, code, text in (
        (("hello.wasm",), 2, b"usage"),
        (("hello.wasm", "nothing"), 1, b"error: function lookup failed"),
        (("none.wasm", "greet"), 1, b"No such file"),
    ):
        done = run(*args)
        assert (done.returncode, done.stdout) == (code, b"")
        assert text in done.stderr
        assert b"Traceback" not in done.stderr
