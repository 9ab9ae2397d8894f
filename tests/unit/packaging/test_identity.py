from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import ContractError
from build_tools.ecosystems.identity import read_identity

if TYPE_CHECKING:
    from pathlib import Path

SOUND = """[project]
authors = [{ name = "Somebody" }, { name = "Another" }]
[project.urls]
Homepage = "https://example.org"
Repository = "https://github.com/owner/name"
Issues = "https://github.com/owner/name/issues"
"""
FAULTS = {
    "no-author": ('{ name = "Somebody" }, { name = "Another" }', "", "names nobody"),
    "no-homepage": ("Homepage", "Home", "`project.urls.Homepage` is missing"),
    "other-host": ('https://github.com/owner/name"', 'https://example.org/name"', "should be"),
    "ends-in-git": ('owner/name"', 'owner/name.git"', "should be"),
    "ends-in-a-slash": ('owner/name"', 'owner/name/"', "should be"),
}


def test_identity_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(SOUND)
    values = read_identity(path).values()
    assert values["AUTHOR"] == "Somebody, Another"
    assert values["REPOSITORY_PATH"] == "github.com/owner/name"


@pytest.mark.parametrize(("old", "new", "message"), FAULTS.values(), ids=FAULTS)
def test_faulty_identity_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(SOUND.replace(old, new))
    with pytest.raises(ContractError, match=message):
        read_identity(path)
