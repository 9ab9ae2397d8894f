"""The rehearsal of a release, and what trips it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.packaging.support import digest
from tests.rehearsal import Rehearsal, RehearsalError, _fill, rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.packaging.support import Release


@pytest.mark.slow
@pytest.mark.timeout(1500)  # six registries
def test_every_registry_gives_back_what_was_built(tree: Path, release: Release, tmp_path: Path) -> None:
    """With the release that all tests share; that a second build is equal, test_reproduce shows."""
    sums = tmp_path / "rebuilt.sums"
    sums.write_text(
        "".join(f"{digest(path)}  {path.name}\n" for path in release.folder.glob("extism_kernel*"))
    )
    rehearsal = Rehearsal(tmp_path, checkout=tree, dist=release.folder, rebuilt=sums)
    assert [reason for reason in rehearse(rehearsal, is_strict=False) if "not on PATH" not in reason] == []


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
