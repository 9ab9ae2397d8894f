"""Which wasmtime the host works with: the ends of the range, and what it says of the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import extism_kernel_pkg
from extism_kernel_pkg.host.versions import NEWEST, OLDEST, find_version

from .registries import cache_folder, run

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(extism_kernel_pkg.__file__).parents[1]
INSTALLED = int((find_version() or "0").partition(".")[0])
"""The major version of the wasmtime that all other tests run on."""


def python(folders: Sequence[Path], *args: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with folders first on its path."""
    code = f"import sys; sys.path[:0] = {[str(folder) for folder in (*folders, ROOT)]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", code + args[0], *args[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=ROOT,
    )


def install(folder: Path, version: str) -> Path:
    """A folder with something that looks like wasmtime of this version."""
    (folder / "wasmtime").mkdir()
    (folder / "wasmtime" / "__init__.py").write_text("")
    (folder / f"wasmtime-{version}.dist-info").mkdir()
    return folder


@pytest.mark.parametrize("version", [f"{OLDEST - 1}.0.2", f"{NEWEST + 1}.0.0", "7.0.0"])
def test_wasmtime_out_of_range_is_refused_by_name_at_import(tmp_path: Path, version: str) -> None:
    done = python([install(tmp_path, version)], "import extism_kernel_pkg.host")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: the host needs wasmtime {OLDEST} to {NEWEST}, this is wasmtime {version}"
    )
    assert "pip install" in last


@pytest.mark.parametrize("version", [f"{OLDEST}.0.0", f"{NEWEST}.9.1"])
def test_wasmtime_in_range_is_taken(tmp_path: Path, version: str) -> None:
    done = python([install(tmp_path, version)], "import extism_kernel_pkg.host")
    assert (done.returncode, done.stderr) == (0, "")


def test_structures_of_another_layout_are_refused() -> None:
    done = python(
        [],
        "import ctypes, wasmtime._ffi as ffi\n"
        "ffi.wasmtime_func_t = ctypes.c_uint32\n"
        "import extism_kernel_pkg.host.capi",
    )
    assert "ImportError: this wasmtime lays out function_t in another way" in done.stderr


def test_range_is_that_of_the_requirement() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'"wasmtime>=(\d+),<(\d+)"', text)
    assert found is not None
    assert (int(found[1]), int(found[2]) - 1) == (OLDEST, NEWEST)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("major", sorted({OLDEST, NEWEST} - {INSTALLED}))
def test_host_works_at_the_ends_of_the_range_that_other_tests_do_not_use(major: int) -> None:
    folder = cache_folder(f"wasmtime-{major}")
    if not folder.is_dir():
        requirement = f"wasmtime>={major},<{major + 1}"
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                str(folder),
                requirement,
            ]
        )
    tests = Path(__file__).parent
    modules = ("test_call", "test_env", "test_hostile", "test_isolation", "test_wasi")
    done = python(
        [folder],
        "import pytest, wasmtime; assert wasmtime.__file__.startswith(sys.argv.pop(1)), wasmtime.__file__\n"
        "sys.exit(pytest.main(sys.argv[1:]))",
        str(folder),
        *("-q", "-p", "no:cacheprovider", "-k", "not does_not_defend"),
        *(str(tests / f"{module}.py") for module in modules),
    )
    assert done.returncode == 0, done.stdout[-3000:]
