from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.vendored.support import write_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package's records."""
    return write_records(tmp_path_factory.mktemp("records") / "package")
