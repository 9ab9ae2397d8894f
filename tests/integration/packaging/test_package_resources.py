"""`importlib.resources` finds the kernel where the built wheel is: installed, zipped, zipapp, editable."""

from __future__ import annotations

import sys
import zipapp
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.integration.packaging.clients import python_tools
from tests.integration.packaging.support import digest, new_venv, pip_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.packaging.support import Release

PROGRAM = """
import hashlib, extism_kernel_pkg as kernel
for flavour in ("context", "core"):
    data = kernel.kernel_bytes(flavour)
    with kernel.kernel_path(flavour) as path:
        assert path.read_bytes() == data
    print(flavour, hashlib.sha256(data).hexdigest())
assert kernel.KERNEL_SHA256 == kernel.kernel_info().flavours["context"].sha256
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(kernel: Path) -> str:
    """What the program prints about the kernel that was built."""
    context, core = (digest(kernel / name) for name in ("extism-runtime.wasm", "extism-runtime-core.wasm"))
    return f"context {context}\ncore {core}\n"


def test_kernel_is_found_in_an_installed_wheel(release: Release, said: str, tmp_path: Path) -> None:
    python = new_venv(tmp_path / "venv")
    run(*pip_of(python), "install", "-q", "--no-index", release.wheel, cwd=tmp_path)
    assert run(python, "-I", "-c", PROGRAM, cwd=tmp_path).stdout == said


def test_kernel_is_found_in_a_zip_on_the_path(release: Release, said: str, tmp_path: Path) -> None:
    done = run(sys.executable, "-c", PROGRAM, cwd=tmp_path, env={"PYTHONPATH": str(release.wheel)})
    assert done.stdout == said


def test_kernel_is_found_in_a_zipapp(release: Release, said: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        archive.extractall(tmp_path / "app")
    (tmp_path / "app" / "__main__.py").write_text(PROGRAM)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    assert run(sys.executable, "-I", tmp_path / "app.pyz", cwd=tmp_path).stdout == said


def test_kernel_is_found_in_a_program_that_pyinstaller_froze(
    release: Release, said: str, tmp_path: Path
) -> None:
    """The package tells PyInstaller of its data by a hook; nobody passes an option."""
    python = python_tools("pyinstaller==6.22.3")
    (tmp_path / "program.py").write_text(PROGRAM)
    site = tmp_path / "site"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--target",
        site,
        release.wheel,
        cwd=tmp_path,
    )
    command: list[str | Path] = [
        python,
        "-m",
        "PyInstaller",
        "--onefile",
        "--log-level",
        "ERROR",
        "program.py",
    ]
    run(*command, cwd=tmp_path, env={"PYTHONPATH": str(site)})
    assert run(tmp_path / "dist" / "program", cwd=tmp_path).stdout == said


def test_kernel_is_found_in_an_editable_install(
    own_checkout: Path, prebuilt: Path, said: str, tmp_path: Path
) -> None:
    python = new_venv(tmp_path / "venv")
    options = ["-q", "--config-settings", f"kernel.prebuilt={prebuilt}"]
    run(*pip_of(python), "install", *options, "-e", own_checkout, cwd=tmp_path)
    assert not list((own_checkout / "extism_kernel_pkg").glob("*.wasm")), (
        "the kernel is beside, not in, the tree"
    )
    assert run(python, "-I", "-c", PROGRAM, cwd=tmp_path).stdout == said
    (own_checkout / "extism_kernel_pkg" / "fresh.py").write_text("FRESH = 1\n")
    run(python, "-I", "-c", "from extism_kernel_pkg.fresh import FRESH", cwd=tmp_path)


def test_installed_package_is_typed(release: Release, tmp_path: Path) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "use.py").write_text(
        "from extism_kernel_pkg import kernel_bytes\nreveal_type(kernel_bytes())\n"
    )
    done = run(
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "use.py",
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path / "site")},
    )
    assert '"bytes"' in done.stdout or '"builtins.bytes"' in done.stdout
