"""From a prebuilt module to staged files; the compiler's part is in tests/integration."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base import files
from build_tools.base.errors import DiskFullError, ExitCode, FileMissingError, FindingsError, ReadOnlyError
from build_tools.base.project import find_project
from build_tools.cli.main import main
from build_tools.kernel import pipeline
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from build_tools.wasm import code as code_facts
from build_tools.wasm import module as module_facts
from extism_kernel_pkg import _wasm

from .conftest import CURRENT, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.base.findings import Finding
    from build_tools.kernel.values import StagedKernel

NAMES = {*FILENAMES.values(), INFO_FILENAME}


@pytest.fixture
def sound_text(sound_text: str) -> str:
    """A finished kernel's skeleton of the version that the tree has."""
    return sound_text.replace(f'"{VERSION}"', f'"{CURRENT}"')


@pytest.fixture
def request_(tmp_path: Path, raw: bytes) -> Request:
    prebuilt = tmp_path / "raw.wasm"
    prebuilt.write_bytes(raw)
    return Request(project=find_project(), cache=tmp_path / "cache", out=tmp_path / "out", prebuilt=prebuilt)


def read_info(staged: StagedKernel) -> dict[str, object]:
    info: dict[str, object] = json.loads((staged.folder / INFO_FILENAME).read_bytes())
    return info


def test_prebuilt_module_is_staged_without_a_compiler(request_: Request) -> None:
    staged = make_kernel(request_)
    assert {path.name for path in request_.out.iterdir()} == NAMES
    for artifact in staged.artifacts:
        assert files.read_digest(artifact.path) == artifact.sha256
        assert artifact.path.stat().st_size == artifact.size
    info = read_info(staged)
    assert info["schema"] == 1
    assert info["toolchain"] == {"origin": "prebuilt", "is_release": False}
    assert "allowed_findings" not in info


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Count, for each reader of structure, how often it begins with each string of bytes."""
    counts: Counter[tuple[str, str]] = Counter()

    def count(owner: type[object], name: str) -> None:
        real: Callable[[object, bytes], None] = vars(owner)["__init__"]

        def init(self: object, data: bytes) -> None:
            counts[name, files.sha256_of(data)] += 1
            real(self, data)

        monkeypatch.setattr(owner, "__init__", init)

    count(code_facts._Visitor, "code")
    count(_wasm.Module, "parts")
    return counts


@pytest.mark.parametrize("linked", ["raw", "unlowered"])
def test_each_string_of_bytes_is_parsed_once(
    linked: str, request_: Request, request: pytest.FixtureRequest, parses: Counter[tuple[str, str]]
) -> None:
    assert request_.prebuilt is not None
    request_.prebuilt.write_bytes(request.getfixturevalue(linked))
    make_kernel(request_)
    # The linker's module, the lowered one where that is another, and both flavours.
    count = 3 if linked == "raw" else 4
    assert sorted(parses.values()) == [1] * (2 * count)


def test_stage_that_parses_again_is_counted(
    request_: Request, parses: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(module: module_facts.Module, expectation: Expectation) -> list[Finding]:
        return check_module(module_facts.parse_module(module.data), expectation)

    monkeypatch.setattr(pipeline, "check_module", again)
    make_kernel(request_)
    assert max(parses.values()) == 2


@pytest.mark.parametrize("linked", ["raw", "unlowered"])
@pytest.mark.parametrize("flavour", ["context", "core"])
def test_finished_kernel_is_accepted_as_prebuilt(
    flavour: str, linked: str, request_: Request, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert request_.prebuilt is not None
    request_.prebuilt.write_bytes(request.getfixturevalue(linked))
    first = make_kernel(request_)
    finished = first.folder / ("extism-runtime.wasm" if flavour == "context" else "extism-runtime-core.wasm")
    again = make_kernel(dataclasses.replace(request_, prebuilt=finished, out=tmp_path / "again"))
    assert [item.sha256 for item in again.artifacts] == [item.sha256 for item in first.artifacts]


def test_import_that_cannot_become_a_global_is_malformed_input(
    request_: Request, raw_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert request_.prebuilt is not None
    text = raw_text.replace("(module", '(module (import "global" "span" (func))', 1)
    request_.prebuilt.write_bytes(bytes(wasmtime.wat2wasm(text)))
    argv = ["kernel", "--prebuilt", str(request_.prebuilt), "--out", str(request_.out)]
    assert main(argv) == ExitCode.MALFORMED_INPUT
    assert "error[placeholder]" in capsys.readouterr().err
    assert not request_.out.exists()


def test_second_run_does_nothing_and_says_so(request_: Request) -> None:
    assert make_kernel(request_).is_fresh
    before = {path: path.stat().st_mtime_ns for path in request_.out.iterdir()}
    assert not make_kernel(request_).is_fresh
    assert {path: path.stat().st_mtime_ns for path in request_.out.iterdir()} == before
    assert make_kernel(dataclasses.replace(request_, is_forced=True)).is_fresh


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_touched_stage_is_made_again(name: str, damage: str, request_: Request) -> None:
    make_kernel(request_)
    path = request_.out / name
    good = path.read_bytes()
    if damage == "changed":
        path.write_bytes(good + b" ")
    else:
        path.unlink()
    assert make_kernel(request_).is_fresh
    assert path.read_bytes() == good


def test_damaged_record_is_only_slower(request_: Request) -> None:
    make_kernel(request_)
    (record,) = (request_.cache / "staged").glob("*.json")
    record.write_text("{", encoding="utf-8")
    assert make_kernel(request_).is_fresh
    assert not make_kernel(request_).is_fresh


def test_other_prebuilt_module_is_another_input(request_: Request, raw: bytes) -> None:
    make_kernel(request_)
    assert request_.prebuilt is not None
    request_.prebuilt.write_bytes(raw + b"\0\5\4name")
    assert make_kernel(request_).is_fresh


def test_faulty_prebuilt_module_is_refused_and_the_old_stage_stays(
    request_: Request, sound_text: str, tmp_path: Path
) -> None:
    make_kernel(request_)
    before = {path.name: path.read_bytes() for path in request_.out.iterdir()}
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(bytes(wasmtime.wat2wasm(sound_text.replace("(memory 2)", "(memory 3)"))))
    with pytest.raises(FindingsError, match=r"memory-initial") as caught:
        make_kernel(dataclasses.replace(request_, prebuilt=bad))
    assert str(bad) in caught.value.render()
    assert {path.name: path.read_bytes() for path in request_.out.iterdir()} == before


def test_kernel_of_another_version_is_refused(request_: Request, sound_text: str, tmp_path: Path) -> None:
    old = tmp_path / "old.wasm"
    old.write_bytes(bytes(wasmtime.wat2wasm(sound_text.replace(f'"{CURRENT}"', '"0.1.0"'))))
    with pytest.raises(FindingsError, match="stamp-differs"):
        make_kernel(dataclasses.replace(request_, prebuilt=old))
    assert not request_.out.exists()


def test_allowed_finding_is_staged_and_recorded(request_: Request, sound_text: str, tmp_path: Path) -> None:
    big = tmp_path / "big.wasm"
    text = sound_text.replace(";; start", "(func " + "(nop)" * 4000 + ")")
    big.write_bytes(bytes(wasmtime.wat2wasm(text)))
    request = dataclasses.replace(request_, prebuilt=big)
    with pytest.raises(FindingsError, match="size-budget"):
        make_kernel(request)
    staged = make_kernel(dataclasses.replace(request, allowed=frozenset({"size-budget"})))
    assert read_info(staged)["allowed_findings"] == ["size-budget"]


def test_missing_export_is_staged_if_it_is_allowed(
    request_: Request, sound_text: str, tmp_path: Path
) -> None:
    less = tmp_path / "less.wasm"
    less.write_bytes(bytes(wasmtime.wat2wasm(sound_text.replace('(export "length" (func 2))', ""))))
    request = dataclasses.replace(request_, prebuilt=less)
    with pytest.raises(FindingsError, match="export-missing"):
        make_kernel(request)
    staged = make_kernel(dataclasses.replace(request, allowed=frozenset({"export-missing"})))
    assert read_info(staged)["allowed_findings"] == ["export-missing"]


def test_prebuilt_pipe_is_refused_unread(request_: Request, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileMissingError, match="is a pipe or a device"):
        make_kernel(dataclasses.replace(request_, prebuilt=pipe))


def test_full_disk_leaves_the_old_stage(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kernel(request_)
    before = {path.name: path.read_bytes() for path in request_.out.iterdir()}
    write = files.write_temporary

    def full(path: Path, data: bytes) -> Path:
        if path.name == INFO_FILENAME:
            raise DiskFullError(where=str(path))
        return write(path, data)

    monkeypatch.setattr(files, "write_temporary", full)
    with pytest.raises(DiskFullError):
        make_kernel(dataclasses.replace(request_, is_forced=True))
    assert {path.name: path.read_bytes() for path in request_.out.iterdir()} == before


def test_run_cut_between_the_renames_leaves_no_kernel_rather_than_two(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kernel(request_)
    replace = Path.replace

    def cut(self: Path, target: Path) -> Path:
        if target.name == FILENAMES["core"]:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        make_kernel(dataclasses.replace(request_, is_forced=True))
    monkeypatch.undo()
    assert not (request_.out / INFO_FILENAME).exists()
    assert not list(request_.out.glob(".*"))
    assert make_kernel(request_).is_fresh


def test_parts_of_a_killed_run_are_swept(request_: Request) -> None:
    request_.out.mkdir()
    (request_.out / ".extism-runtime.wasm.x1y2.part").touch()
    (request_.out / ".theirs.part").touch()
    make_kernel(request_)
    assert {path.name for path in request_.out.iterdir()} == NAMES | {".theirs.part"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run the tests as another user")
def test_read_only_folder_is_named(request_: Request) -> None:
    request_.out.mkdir()
    request_.out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ReadOnlyError, match="cannot be read or written"):
        make_kernel(request_)


def test_folder_that_is_a_file_is_named(request_: Request) -> None:
    request_.out.write_text("", encoding="utf-8")
    assert request_.prebuilt is not None
    argv = ["kernel", "--prebuilt", str(request_.prebuilt), "--out", str(request_.out)]
    assert main(argv) == 4


def test_kernel_prints_size_digest_version_and_place(
    request_: Request, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(request_.cache))
    argv = ["kernel", "--prebuilt", str(request_.prebuilt), "--out", str(request_.out)]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    digest = files.read_digest(request_.out / "extism-runtime.wasm")
    size = (request_.out / "extism-runtime.wasm").stat().st_size
    for part in (digest, f"{size:,} bytes", f"extism-kernel {CURRENT}, ABI 2", str(request_.out), "prebuilt"):
        assert part in shown
    assert main(argv) == 0
    assert "up to date" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["up_to_date"] is True
    assert data["files"][0]["sha256"] == digest
