"""WASI's files, output and random numbers stay within bounds, and its options reach the guest."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    Plugin,
    PluginExitError,
    PluginTimeoutError,
    PluginTrapError,
    WasiOptions,
)
from extism_kernel_pkg.host.wasi_files import MAX_OPEN_FILES
from tests.processes import patience

from .conftest import number, wat, wat_path

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_descriptors = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts in /proc/self/fd")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def compiled() -> CompiledPlugin:
    return CompiledPlugin({"wasm": [wat("files")]})


@pytest.fixture
def plugin(compiled: CompiledPlugin, tmp_path: Path) -> Iterator[Plugin]:
    (tmp_path / "file").write_text("content")
    with Plugin(compiled, allowed_paths={str(tmp_path): "/"}, timeout_ms=20_000) as it:
        yield it


@needs_descriptors
def test_open_files_are_bounded(plugin: Plugin) -> None:
    before = count_descriptors()
    for _ in range(2):
        assert number(plugin.call("hoard", "file")) in {MAX_OPEN_FILES, 0}
        assert count_descriptors() - before <= MAX_OPEN_FILES + 8
    plugin.reset()
    assert count_descriptors() - before <= 8


def test_closed_files_do_not_count(plugin: Plugin) -> None:
    plugin.call("open_and_close", "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
@pytest.mark.parametrize("export", ["open_read", "open_write", "open_below_64"])
@pytest.mark.parametrize("through", ["pipe", "link"])
def test_pipe_is_refused_at_once(plugin: Plugin, tmp_path: Path, export: str, through: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    began = time.monotonic()
    with pytest.raises(PluginExitError, match=r"exit code: 2$"):
        plugin.call(export, through)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
def test_device_is_refused(compiled: CompiledPlugin) -> None:
    with (
        Plugin(compiled, allowed_paths={"/dev": "/"}) as plugin,
        pytest.raises(PluginExitError, match=r"code: 2$"),
    ):
        plugin.call("open_read", "zero")


def test_look_at_a_file_leaves_the_guests_memory_and_answer_alone(plugin: Plugin, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    assert plugin.call("open_below_64", "file") == b""
    with pytest.raises(PluginExitError, match=r"exit code: 32$"):  # ELOOP
        plugin.call("open_without_following", "link")
    with pytest.raises(PluginExitError, match=r"exit code: 44$"):  # ENOENT
        plugin.call("open_read", "missing")


def test_output_of_a_descriptor_that_became_a_file_goes_there(plugin: Plugin, tmp_path: Path) -> None:
    plugin.call("file_in_place_of_stdout", "new")
    assert (tmp_path / "new").read_text() == "new"


def test_output_is_kept_logged_and_escaped(
    compiled: CompiledPlugin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Plugin(compiled) as plugin:
        plugin.call("say", "one\r\n\x1b[31mtwo\u202e\nthree")
        assert caplog.messages == ["stdout: one", r"stdout: \x1b[31mtwo\u202e", "stdout: three"]
        caplog.clear()
        with pytest.raises(PluginTrapError) as caught:
            plugin.call("complain_and_trap", "a\n\x1b]0;b\n\tc")
        assert caplog.messages == ["stderr: a", r"stderr: \x1b]0;b", r"stderr: \tc"]
        assert caught.value.stderr == ("a", r"\x1b]0;b", "    c")
        assert caught.value.stdout == ()
        assert "stderr:\n  a\n  \\x1b]0;b\n      c\n" in caught.value.render()
        with pytest.raises(PluginExitError, match=r"exit code: 21$"):
            plugin.call("say_outside_memory")


def test_output_of_a_call_is_not_told_by_the_next(compiled: CompiledPlugin) -> None:
    with Plugin(compiled) as plugin:
        plugin.call("say", "before")
        with pytest.raises(PluginTrapError) as caught:
            plugin.call("complain_and_trap", "after")
    assert (caught.value.stdout, caught.value.stderr) == ((), ("after",))


def test_only_the_last_output_is_kept(compiled: CompiledPlugin) -> None:
    with Plugin(compiled) as plugin, pytest.raises(PluginTrapError) as caught:
        plugin.call("complain_and_trap", "\n".join(str(line) for line in range(5000)))
    assert caught.value.stderr == tuple(str(line) for line in range(4980, 5000))


def test_options_reach_the_guest(compiled: CompiledPlugin) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    options = WasiOptions(args=["name", "ö"], env={"KEY": "value"}, stdin=b"typed", stdout=out, stderr=err)
    with Plugin(compiled, wasi=options) as plugin:
        assert plugin.call("read_args") == "name\0ö\0".encode()
        assert plugin.call("read_environment") == b"KEY=value\0"
        assert plugin.call("read_stdin") == b"typed"
        plugin.call("say", "\x1bout")
        plugin.call("complain", "err")
    assert (out.getvalue(), err.getvalue()) == (b"\x1bout", b"err")


def test_guest_sees_nothing_of_the_process(compiled: CompiledPlugin) -> None:
    with Plugin(compiled) as plugin:
        assert [plugin.call(f"read_{what}") for what in ("args", "environment", "stdin")] == [b"", b"", b""]


FAULTS = {
    "one-string": ({"args": "abc"}, TypeError, "a list of strings"),
    "text-as-stdin": ({"stdin": "abc"}, TypeError, "`stdin` is bytes, not `str`"),
    "number": ({"env": {"A": 1}}, TypeError, "hold strings, not `int`"),
    "zero": ({"args": ["a\0b"]}, ValueError, "zero byte"),
    "equals-sign": ({"env": {"A=B": "c"}}, ValueError, "`=` in it"),
}


@pytest.mark.parametrize(("given", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_option_that_wasi_cannot_pass_on_is_refused(
    given: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        WasiOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "shown"), [("1", "hello\n"), ("", ""), (None, "")])
def test_variable_copies_the_output_to_the_process(value: str | None, shown: str) -> None:
    code = (
        "from extism_kernel_pkg.host import Plugin\n"
        f"Plugin({{'wasm': [{{'path': {str(wat_path('files'))!r}}}]}}).call('say', 'hello\\n')"
    )
    environment = {key: text for key, text in os.environ.items() if key != "EXTISM_ENABLE_WASI_OUTPUT"}
    if value is not None:
        environment["EXTISM_ENABLE_WASI_OUTPUT"] = value
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (shown, "")


@pytest.mark.parametrize("export", ["say_for_ever", "random_for_ever"])
def test_what_wasi_does_at_length_ends_with_the_time_limit(compiled: CompiledPlugin, export: str) -> None:
    with Plugin(compiled, timeout_ms=300) as plugin:
        began = time.process_time()
        with pytest.raises(PluginTimeoutError):
            plugin.call(export)
        assert time.process_time() - began < patience(5)
        assert len(plugin.call("random")) == 16


def test_random_numbers_stay_inside_memory(compiled: CompiledPlugin) -> None:
    with Plugin(compiled) as plugin:
        assert plugin.call("random") != plugin.call("random")
        with pytest.raises(PluginExitError, match=r"exit code: 21$"):
            plugin.call("random_outside_memory")


def test_million_empty_lines_are_logged_within_the_time_limit(
    compiled: CompiledPlugin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setLevel(logging.ERROR)  # enabled, and yet not kept
    with Plugin(compiled, timeout_ms=300) as plugin:
        began = time.process_time()
        with pytest.raises(PluginTimeoutError):
            plugin.call("say_for_ever", "x")
        assert time.process_time() - began < patience(5)


def test_address_that_the_runtime_refuses_is_a_trap(plugin: Plugin) -> None:
    with pytest.raises(PluginTrapError, match="not aligned"):
        plugin.call("open_misaligned", "file")
