"""What is expensive and the same for all tests: made once per run, by the worker that needs it first."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from build_tools.base import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name` of this run, which `make` fills in the first process that asks.

    `make` gets an empty folder whose path is final. What it raises (a skip, too) leaves nothing, so that the
    next process tries for itself.
    """
    base = factory.getbasetemp()
    # Each worker of pytest-xdist has a folder of its own inside that of the run.
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, done = shared / "once" / name, shared / "once" / f"{name}.done"
    with files.lock(shared / "once" / f"{name}.lock"):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that died
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            done.touch()
    return folder
