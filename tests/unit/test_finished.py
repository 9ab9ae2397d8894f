"""A finished kernel is taken by digest where nothing can look inside, and only if it is whole and ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import BuildToolsError
from build_tools.base.project import find_project
from build_tools.cli import stage
from build_tools.cli.main import main
from build_tools.kernel.finished import is_finished, stage_finished
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from build_tools.release import backend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def finished(tmp_path: Path, raw: bytes) -> Path:
    """The module of a finished kernel, its companions beside it."""
    (tmp_path / "raw.wasm").write_bytes(raw)
    folder = tmp_path / "finished"
    make_kernel(
        Request(project=find_project(), cache=tmp_path / "cache", out=folder, prebuilt=tmp_path / "raw.wasm")
    )
    return folder / FILENAMES["context"]


def edit_info(module: Path, **changes: object) -> None:
    path = module.parent / INFO_FILENAME
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def append(module: Path, name: str) -> None:
    path = module.parent / name
    path.write_bytes(path.read_bytes() + b"\0")


FAULTS: dict[str, Callable[[Path], object]] = {
    "other-version": lambda module: edit_info(module, version="0.0.1"),
    "other-sources": lambda module: edit_info(module, source_sha256="0" * 64),
    "allowed-finding": lambda module: edit_info(module, allowed_findings=["size-budget"]),
    "other-schema": lambda module: edit_info(module, schema=99),
    "not-json": lambda module: (module.parent / INFO_FILENAME).write_text("{"),
    "no-info": lambda module: (module.parent / INFO_FILENAME).unlink(),
    "altered-module": lambda module: append(module, FILENAMES["context"]),
    "altered-companion": lambda module: append(module, FILENAMES["core"]),
    "missing-companion": lambda module: (module.parent / FILENAMES["core"]).unlink(),
}


def test_finished_kernel_is_staged_byte_for_byte(finished: Path, tmp_path: Path) -> None:
    staged = stage_finished(find_project(), finished, tmp_path / "out")
    assert staged is not None
    for name in (*FILENAMES.values(), INFO_FILENAME):
        assert (tmp_path / "out" / name).read_bytes() == (finished.parent / name).read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_kernel_that_is_not_whole_or_not_ours_is_not_finished(
    fault: str, finished: Path, tmp_path: Path
) -> None:
    assert is_finished(find_project(), finished)
    FAULTS[fault](finished)
    assert not is_finished(find_project(), finished)
    assert stage_finished(find_project(), finished, tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


def test_module_beside_a_finished_kernel_is_not_part_of_it(finished: Path) -> None:
    other = finished.parent / "other.wasm"
    other.write_bytes(finished.read_bytes() + b"\0")
    assert not is_finished(find_project(), other)


@pytest.mark.parametrize("has_tools", [True, False])
def test_command_stages_the_same_with_and_without_the_libraries(
    has_tools: bool, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "has_wasm_tools", lambda: has_tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert main(["kernel", "--prebuilt", str(finished), "--out", str(out)]) == 0
    for name in (*FILENAMES.values(), INFO_FILENAME):
        assert (out / name).read_bytes() == (finished.parent / name).read_bytes()


def test_backend_asks_for_no_library_for_a_finished_kernel(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanted(settings: dict[str, list[str] | str] | None = None) -> set[str]:
        return {each.split(">")[0] for each in backend.get_requires_for_build_wheel(settings)}

    libraries = {"wasmtime", "wasm-tools"}
    monkeypatch.delenv("EXTISM_KERNEL_PREBUILT", raising=False)
    assert libraries <= wanted()
    assert not libraries & wanted({"kernel.prebuilt": str(finished)})
    monkeypatch.setenv("EXTISM_KERNEL_PREBUILT", str(finished))
    assert not libraries & wanted()
    (finished.parent / INFO_FILENAME).unlink()
    assert libraries <= wanted(), "what is not finished must be looked into"


def test_prebuilt_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildToolsError):
        make_kernel(
            Request(
                project=find_project(), cache=tmp_path, out=tmp_path / "o", prebuilt=tmp_path / "none.wasm"
            )
        )
