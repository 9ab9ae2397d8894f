"""Compiled code on disk: used by the next process, rebuilt where it is wrong, never taken from others."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

import extism_kernel_pkg
from extism_kernel_pkg.host import CacheFolderError, CompiledPlugin, Plugin, disk_cache
from extism_kernel_pkg.host.compiling import Compiler

from .conftest import wat_path

if TYPE_CHECKING:
    from collections.abc import Callable

needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")

WASM = bytes(wasmtime.wat2wasm(wat_path("kit").read_text()))
KEY = hashlib.sha256(WASM).digest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that were really compiled."""
    done: list[str] = []
    compile_module = Compiler._compile

    def noted(self: Compiler, wasm: bytes) -> wasmtime.Module:
        done.append("kit" if wasm == WASM else "other")
        return compile_module(self, wasm)

    monkeypatch.setattr(Compiler, "_compile", noted)
    return done


def compile_kit(folder: Path, compiler: Compiler | None = None) -> wasmtime.Module:
    """Compile as a new process does, whose memory holds nothing yet."""
    compiler = compiler or Compiler()
    return compiler.compile(WASM, compiler.open_cache(folder)).code.module


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_next_compiler_finds_what_was_compiled(folder: Path, compiled: list[str]) -> None:
    compile_kit(folder)
    compile_kit(folder)
    assert compiled == ["kit"]
    assert len(entries(folder)) == 1


def test_next_process_finds_what_was_compiled(folder: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from extism_kernel_pkg.host import CompiledPlugin, Plugin
from extism_kernel_pkg.host.compiling import Compiler
count, compile_module = [], Compiler._compile
def noted(self, wasm):
    count.append(wasm)
    return compile_module(self, wasm)
Compiler._compile = noted
plugin = Plugin(CompiledPlugin(Path({str(wat_path("kit"))!r}), cache_folder=Path({str(folder)!r})))
assert plugin.call("echo", b"x") == b"x"
print(len(count))
"""
    root = Path(extism_kernel_pkg.__file__).parents[1]
    run = [sys.executable, "-c", code]
    outputs = [
        subprocess.run(run, cwd=root, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert outputs == ["2\n", "0\n"]  # the kernel is kept too


def test_code_that_the_process_has_already_is_written_too(folder: Path) -> None:
    CompiledPlugin(WASM)
    CompiledPlugin(WASM, cache_folder=folder)
    assert len(entries(folder)) == 2


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": _cut,
    "one-bit": _flip,
    "digest-alone": lambda data: data[:32],
    "longer": lambda data: data + b"\0",
    "text": lambda _: b"something else\n" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_is_rebuilt(folder: Path, compiled: list[str], damage: str) -> None:
    compile_kit(folder)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGES[damage](whole))
    compile_kit(folder)
    assert compiled == ["kit", "kit"]
    assert (entries(folder), entry.read_bytes()) == ([entry], whole)


def test_entry_of_another_module_is_not_taken(folder: Path, compiled: list[str]) -> None:
    compile_kit(folder)
    (entry,) = entries(folder)
    compiler = Compiler()
    other = bytes(wasmtime.wat2wasm('(module (func (export "f")))'))
    compiler.compile(other, compiler.open_cache(folder))
    (foreign,) = set(entries(folder)) - {entry}
    foreign.replace(entry)
    compile_kit(folder)
    assert compiled == ["kit", "other", "kit"]


def test_code_that_the_runtime_refuses_is_rebuilt(folder: Path, compiled: list[str]) -> None:
    compile_kit(folder)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    code = bytes(wasmtime.Module(wasmtime.Engine(), WASM).serialize())  # without epochs
    entry.write_bytes(disk_cache._digest(entry, code) + code)
    compile_kit(folder)
    assert compiled == ["kit", "kit"]
    assert entry.read_bytes() == whole


def test_other_settings_and_versions_have_entries_of_their_own(
    folder: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = wasmtime.Config()
    config.consume_fuel = True
    with_fuel, ours = wasmtime.Engine(config), Compiler()
    assert disk_cache.fingerprint(with_fuel) != disk_cache.fingerprint(ours.engine)
    assert disk_cache.fingerprint(Compiler().engine) == disk_cache.fingerprint(ours.engine)
    compile_kit(folder, ours)
    monkeypatch.setattr(disk_cache, "find_version", lambda: "47.11")
    compile_kit(folder)
    assert compiled == ["kit", "kit"]
    assert len(entries(folder)) == 2


@needs_owners
def test_entry_that_others_may_write_is_rebuilt(folder: Path, compiled: list[str]) -> None:
    compile_kit(folder)
    (entry,) = entries(folder)
    entry.chmod(0o666)
    compile_kit(folder)
    assert compiled == ["kit", "kit"]
    assert entry.stat().st_mode & 0o777 == 0o600


@needs_owners
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_entry_that_is_no_file_is_rebuilt(folder: Path, compiled: list[str], kind: str) -> None:
    compile_kit(folder)
    (entry,) = entries(folder)
    if kind == "link":
        entry.rename(folder / "elsewhere")
        entry.symlink_to(folder / "elsewhere")
    else:
        entry.unlink()
        os.mkfifo(entry)
    compile_kit(folder)
    assert compiled == ["kit", "kit"]
    assert entry.is_file()
    assert not entry.is_symlink()


@needs_owners
@pytest.mark.parametrize("which", ["folder", "above"])
def test_folder_that_others_can_change_is_refused(folder: Path, which: str) -> None:
    folder.mkdir(parents=True, mode=0o700)
    place = folder if which == "folder" else folder.parent
    place.chmod(0o777)
    with pytest.raises(CacheFolderError, match=f"`{place}` can be written by other users") as caught:
        CompiledPlugin(WASM, cache_folder=folder)
    assert "chmod go-w" in caught.value.render()
    assert entries(folder) == []


@needs_owners
def test_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(CacheFolderError, match="belongs to another user"):
        CompiledPlugin(WASM, cache_folder=folder)


@needs_owners
def test_folder_that_is_made_is_private(folder: Path) -> None:
    CompiledPlugin(WASM, cache_folder=folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {entry.stat().st_mode & 0o777 for entry in entries(folder)} == {0o600}


def test_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheFolderError, match=r"`.*file` cannot be used: File exists"):
        CompiledPlugin(WASM, cache_folder=tmp_path / "file")


def test_folder_that_takes_no_entry_is_logged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with caplog.at_level(logging.WARNING):
        compile_kit(folder)
    assert "No space left on device" in caplog.text
    assert entries(folder) == []  # nor is anything half-written left


def test_unfinished_entries_of_killed_processes_are_removed(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    old, new, other = folder / "unfinished-old", folder / "unfinished-new", folder / "other"
    for path in (old, new, other):
        path.write_text("x")
    long_ago = time.time() - 7200
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    compile_kit(folder)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_entries_unused_for_longest_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wasms = [wasmtime.wat2wasm(f'(module (func (export "f{i}")))') for i in range(3)]
    compiler = Compiler()
    cache = compiler.open_cache(folder)
    for age, wasm in zip((300, 200), wasms, strict=False):
        compiler.compile(bytes(wasm), cache)
        (newest,) = (path for path in entries(folder) if path.stat().st_mtime > time.time() - 100)
        os.utime(newest, (time.time() - age,) * 2)
    by_age = sorted(entries(folder), key=lambda path: path.stat().st_mtime)
    used = Compiler()
    used.compile(bytes(wasms[0]), used.open_cache(folder))  # it is the newest now
    monkeypatch.setattr(disk_cache, "MAX_BYTES", int(by_age[0].stat().st_size * 2.5))
    compiler.compile(bytes(wasms[2]), cache)
    left = entries(folder)
    assert len(left) == 2
    assert by_age[0] in left
    assert by_age[1] not in left


def test_many_writers_leave_one_whole_entry(folder: Path) -> None:
    compilers = [Compiler() for _ in range(6)]
    ready = threading.Barrier(len(compilers))
    outputs = []

    def work(compiler: Compiler) -> None:
        ready.wait()
        for _ in range(5):
            compiler._kept.clear()
            compile_kit(folder, compiler)
            for entry in folder.glob("*.cwasm"):
                entry.unlink(missing_ok=True)
        outputs.append(compile_kit(folder, compiler))

    threads = [threading.Thread(target=work, args=(compiler,)) for compiler in compilers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == len(compilers)
    assert {path.suffix for path in entries(folder)} <= {".cwasm"}
    plugin = Plugin(CompiledPlugin(WASM, cache_folder=folder))
    assert plugin.call("echo", b"x") == b"x"
