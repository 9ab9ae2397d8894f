"""What somebody does first: a fresh checkout, no environment, one command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build_tools.base.cache import find_cache
from build_tools.base.files import read_digest
from build_tools.kernel.values import FILENAMES
from build_tools.release.sources import copy_sources
from tests.processes import patience

from .conftest import ROOT

if TYPE_CHECKING:
    from build_tools.kernel.values import StagedKernel

# A folder that no quoting of ours may stumble over.
ODD_NAME = 'it\'s a chéck-out, "really" $HOME'


def run_kernel(checkout: Path, home: Path, *, umask: int = -1) -> subprocess.CompletedProcess[str]:
    """Run `kernel` with the Python that ours was made from, another home folder and our downloads."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("EXTISM_", "PYTHON"))
    }
    real = Path.home()
    environ |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(find_cache().parent),
        "CARGO_HOME": os.environ.get("CARGO_HOME", str(real / ".cargo")),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(real / ".rustup")),
    }
    return subprocess.run(
        [
            Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}",
            "-m",
            "build_tools",
            "kernel",
        ],
        cwd=checkout,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(240),
        umask=umask,
    )


@pytest.mark.slow
def test_one_command_is_enough_in_any_folder_and_under_any_umask(built: StagedKernel, tmp_path: Path) -> None:
    checkout, home = tmp_path / ODD_NAME, tmp_path / "home"
    home.mkdir()
    copy_sources(ROOT, checkout)
    done = run_kernel(checkout, home, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert "making the environment .venv" in done.stderr
    staged = checkout / "extism_kernel_pkg"
    for name in FILENAMES.values():
        assert read_digest(staged / name) == read_digest(built.folder / name)
        assert (staged / name).stat().st_mode & 0o777 == 0o644, "whoever unpacks a package may read it"
    again = run_kernel(checkout, home)
    assert "up to date; nothing to do" in again.stdout
    assert "environment" not in again.stderr
    shutil.rmtree(checkout)
