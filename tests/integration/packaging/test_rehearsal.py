"""The rehearsal of a release, and what trips it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rehearsal import Rehearsal, RehearsalError, _fill, rehearse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(1500)  # two builds and six registries
def test_every_registry_gives_back_what_was_built(tmp_path: Path) -> None:
    assert [reason for reason in rehearse(tmp_path, is_strict=False) if "not on PATH" not in reason] == []


@pytest.mark.parametrize("program", ["npm", "go", "cargo"])
def test_a_client_that_is_missing_leaves_out_its_registry_alone(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is packed for it either: cargo packs the crate."""
    monkeypatch.setenv("PATH", str(tmp_path))
    rehearsal = Rehearsal.__new__(Rehearsal)  # without its checkout, which none of them gets to
    rehearsal.root = tmp_path
    with pytest.raises(FileNotFoundError, match=f"`{program}` is not on PATH"):
        getattr(rehearsal, program)()


def test_a_registry_with_other_bytes_is_named(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder, text in ((source, "ours"), (target, "another's")):
        folder.mkdir()
        (folder / "kernel.zip").write_text(text)
    with pytest.raises(RehearsalError, match=r"kernel\.zip is there with other bytes"):
        _fill(source, target)
