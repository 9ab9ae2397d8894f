"""The native twin, built once for all tests here, in a folder that goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.project import find_project
from build_tools.checks.run import find_cargo
from tests.native.twin import build_twin, find_obstacle, load_twin, unpack_twin
from tests.once import make_once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.native.twin import Twin


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """The kernel of this checkout, native."""
    project, cargo = find_project(), find_cargo()
    obstacle = find_obstacle(project, cargo)
    if cargo is None or obstacle is not None:
        pytest.skip(f"the native twin cannot be built: {obstacle}")

    def build(folder: Path) -> None:
        unpack_twin(build_twin(project, cargo, folder))

    return load_twin(make_once(tmp_path_factory, "twin", build))
