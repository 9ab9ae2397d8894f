"""The tables of C functions are what their command makes, and name what the installed wasmtime has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host.capi import check_layout
from extism_kernel_pkg.host.capi_table import ffi

from . import tables

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the headers of the host and nothing else."""
    for header in tables.HEADERS:
        (tmp_path / header).write_bytes((tables.FOLDER / header).read_bytes())
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("header", tables.HEADERS)
def test_table_is_what_its_command_makes(header: str) -> None:
    made = tables.make_table(header)
    assert tables.find_table(header).read_text(encoding="utf-8") == made, (
        f"`{header}` was changed; run `python -m build_tools campaign host-tables`"
    )


def test_changed_header_gives_another_table(folder: Path) -> None:
    before = tables.make_table("capi.h")
    text = (folder / "capi.h").read_text(encoding="utf-8")
    (folder / "capi.h").write_text(text.replace("uint64_t ticks", "uint32_t ticks"), encoding="utf-8")
    assert tables.make_table("capi.h") != before


def test_command_writes_every_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.main([]) == 0
    assert {path.name for path in folder.glob("*_table.py")} == {"capi_table.py", "stacks_table.py"}
    assert capsys.readouterr().out.count("is made from") == len(tables.HEADERS)


def test_structure_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Smaller:
        """`extism_kernel_pkg.host.capi.ffi` with a structure of another size."""

        def sizeof(self, name: str) -> int:
            return 1 if name == "memory_t" else int(ffi.sizeof(name))

        def offsetof(self, name: str, field: str) -> int:
            return int(ffi.offsetof(name, field))

    monkeypatch.setattr("extism_kernel_pkg.host.capi.ffi", Smaller())
    with pytest.raises(ImportError, match="lays out memory_t in another way"):
        check_layout()
