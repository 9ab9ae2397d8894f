"""The kernel as this machine's toolchain makes it, once for all tests here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build_tools.base.cache import find_cache
from build_tools.base.project import find_project
from build_tools.bench.metered import NamedModule, Workshop
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.stage import read_staged
from build_tools.kernel.values import FILENAMES, INFO_FILENAME
from tests.once import make_once

if TYPE_CHECKING:
    from build_tools.kernel.values import StagedKernel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> StagedKernel:
    """A kernel built from source; its size is judged by one test, the others want to run it."""
    allowed = frozenset({"size-budget"})

    def make(out: Path) -> None:
        make_kernel(Request(project=find_project(), cache=find_cache(), out=out, allowed=allowed))

    folder = make_once(tmp_path_factory, "kernel", make)
    info = json.loads((folder / INFO_FILENAME).read_bytes())
    return read_staged(folder, info, is_fresh=True)


@pytest.fixture(scope="session")
def kernel(built: StagedKernel) -> NamedModule:
    """The context flavour's bytes."""
    return NamedModule(name="ours", data=(built.folder / FILENAMES["context"]).read_bytes())


@pytest.fixture(scope="session")
def workshop(kernel: NamedModule) -> Workshop:
    """The kernel, compiled once; it makes fresh instances."""
    return Workshop(kernel)
