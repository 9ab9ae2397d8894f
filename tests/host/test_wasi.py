"""WASI: the folders of `allowed_paths` and nothing else; sleeping and exiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import ManifestError, PluginExitError, PluginTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from extism_kernel_pkg.host import Plugin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, next to a secret, and with links that lead out to it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_text("content")
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "relative-link").symlink_to("../secret")
    (inside / "folder-link").symlink_to(tmp_path)
    return inside


def test_allowed_path_is_read_and_written(load: Callable[..., Plugin], folder: Path) -> None:
    plugin = load("wasi", allowed_paths={str(folder): "/data"})
    assert plugin.call("read_file", "file") == b"content"
    plugin.call("write_file", "new")
    assert (folder / "new").read_text() == "new"


def test_read_only_path_is_not_written(load: Callable[..., Plugin], folder: Path) -> None:
    plugin = load("wasi", allowed_paths={f"ro:{folder}": "/data"})
    assert plugin.call("read_file", "file") == b"content"
    with pytest.raises(PluginExitError):
        plugin.call("write_file", "new")
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    "path",
    ["../secret", "link", "relative-link", "folder-link/secret", "/etc/passwd", "x/../../secret", "", "\0"],
)
def test_no_path_leads_out(load: Callable[..., Plugin], folder: Path, path: str) -> None:
    plugin = load("wasi", allowed_paths={str(folder): "/"})
    with pytest.raises(PluginExitError):
        plugin.call("read_file", path)
    with pytest.raises(PluginExitError):
        plugin.call("write_file", path)
    assert (folder.parent / "secret").read_text() == "secret"


def test_nothing_is_open_without_allowed_paths(load: Callable[..., Plugin]) -> None:
    with pytest.raises(PluginExitError, match="exit code: 8"):
        load("wasi").call("read_file", "file")


def test_missing_folder_is_named(load: Callable[..., Plugin], folder: Path) -> None:
    with pytest.raises(ManifestError, match="is not a folder"):
        load("wasi", allowed_paths={str(folder / "file"): "/x"}).call("sleep_a_little")


def test_sleep_ends_with_the_timeout(load: Callable[..., Plugin]) -> None:
    plugin = load("wasi", timeout_ms=300)
    start = time.monotonic()
    with pytest.raises(PluginTimeoutError, match="timeout"):
        plugin.call("sleep_an_hour")
    assert time.monotonic() - start < 30
    assert plugin.call("sleep_a_little") == (77).to_bytes(8, "little")


def test_addresses_outside_memory_are_errors(load: Callable[..., Plugin]) -> None:
    plugin = load("wasi")
    for name in ("poll_outside_memory", "clock_outside_memory"):
        with pytest.raises(PluginExitError, match="exit code: 21"):
            plugin.call(name)


def test_proc_exit_is_a_result_and_renews_the_instance(load: Callable[..., Plugin]) -> None:
    plugin = load("wasi")
    assert plugin.call("exit_0") == b""
    with pytest.raises(PluginExitError, match="exit code: 3"):
        plugin.call("exit_3")
    assert plugin.call("sleep_a_little") != b""


def test_start_runs_on_a_new_instance_each_time(load: Callable[..., Plugin]) -> None:
    plugin = load("wasi")
    assert [plugin.call("_start") for _ in range(3)] == [b"1", b"1", b"1"]
