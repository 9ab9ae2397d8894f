"""`extism_kernel_pkg`, from a folder and from a zip file, each in a fresh interpreter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from build_tools.base.project import find_project
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.values import INFO_FILENAME

from .conftest import CURRENT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "extism_kernel_pkg"
SHOW = """
import hashlib, extism_kernel_pkg as k
with k.kernel_path("core") as path:
    at = path.read_bytes()
is_same = k.KERNEL_SHA256 == hashlib.sha256(k.kernel_bytes()).hexdigest()
print(k.__version__, is_same, at == k.kernel_bytes("core"))
"""


@pytest.fixture
def package(tmp_path: Path, raw: bytes) -> Path:
    """The package's own modules and a staged kernel, without the checkout around them."""
    folder = tmp_path / "site" / PACKAGE
    folder.mkdir(parents=True)
    for path in (ROOT / PACKAGE).glob("*.py"):
        shutil.copy(path, folder)
    prebuilt = tmp_path / "raw.wasm"
    prebuilt.write_bytes(raw)
    make_kernel(Request(project=find_project(), cache=tmp_path / "cache", out=folder, prebuilt=prebuilt))
    return folder


def python(place: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that sees the standard library and `place`, and nothing else."""
    command = f"import sys; sys.path.insert(0, {str(place)!r})\n{script}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )


def failure(package: Path, script: str) -> str:
    done = python(package.parent, script)
    assert done.returncode != 0
    return done.stderr.splitlines()[-1]


def test_package_hands_out_checked_bytes_without_dependencies(package: Path) -> None:
    done = python(package.parent, SHOW)
    assert (done.stdout, done.stderr) == (f"{CURRENT} True True\n", "")


def test_package_works_from_a_zip_file(package: Path, tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.iterdir():
            if path.is_file():
                file.write(path, f"{PACKAGE}/{path.name}")
    done = python(archive, SHOW)
    assert (done.stdout, done.stderr) == (f"{CURRENT} True True\n", "")


def test_importing_works_where_no_kernel_is_staged(package: Path) -> None:
    (package / INFO_FILENAME).unlink()
    assert python(package.parent, "import extism_kernel_pkg").returncode == 0


@pytest.mark.parametrize(
    "use", ["kernel_bytes()", "kernel_info()", "__version__", "KERNEL_SHA256", "kernel_path().__enter__()"]
)
def test_package_without_a_kernel_says_what_to_run(use: str, package: Path) -> None:
    (package / INFO_FILENAME).unlink()
    said = failure(package, f"import extism_kernel_pkg as k; k.{use}")
    assert "KernelNotStagedError: no kernel is staged" in said
    assert "run `python -m build_tools kernel`" in said


def test_package_that_lacks_a_module_says_what_to_run(package: Path) -> None:
    (package / "extism-runtime.wasm").unlink()
    said = failure(package, "import extism_kernel_pkg as k; k.kernel_bytes()")
    assert "KernelNotStagedError: `extism-runtime.wasm` is missing" in said


def test_altered_kernel_is_refused(package: Path) -> None:
    path = package / "extism-runtime-core.wasm"
    path.write_bytes(path.read_bytes() + b"\0")
    for use in ("kernel_bytes('core')", "kernel_path('core').__enter__()"):
        said = failure(package, f"import extism_kernel_pkg as k; k.{use}")
        assert "KernelCorruptError: `extism-runtime-core.wasm` has digest" in said
        assert "reinstall the package" in said


INFO_FAULTS = {
    "not-json": "{",
    "not-utf8": "\udcff",
    "list": "[]",
    "empty": "{}",
    "schema": '{"schema": 99}',
    "no-flavours": '{"schema": 1, "flavours": {}}',
}


@pytest.mark.parametrize("text", INFO_FAULTS.values(), ids=INFO_FAULTS)
def test_malformed_info_is_refused(text: str, package: Path) -> None:
    (package / INFO_FILENAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    said = failure(package, "import extism_kernel_pkg as k; k.kernel_info()")
    assert "KernelCorruptError: `kernel_info.json` is malformed" in said


def test_unknown_flavour_is_named(package: Path) -> None:
    said = failure(package, "import extism_kernel_pkg as k; k.kernel_bytes('mild')")
    assert "ValueError: flavour 'mild'; there are context, core" in said


def test_unknown_attribute_is_an_attribute_error(package: Path) -> None:
    said = failure(package, "import extism_kernel_pkg as k; k.nonsense")
    assert "AttributeError: module 'extism_kernel_pkg' has no attribute 'nonsense'" in said


def test_info_is_frozen_and_whole(package: Path) -> None:
    script = """
import dataclasses, extism_kernel_pkg as k
info = k.kernel_info()
for attempt in (lambda: setattr(info, "version", "2"), lambda: info.flavours.update({})):
    try:
        attempt()
    except (AttributeError, TypeError):
        continue
    raise SystemExit("it can be changed")
alloc = next(export for export in info.exports if export.name == "alloc")
print(alloc.type, alloc.alias, info.abi_version, sorted(info.flavours), info.toolchain.origin)
"""
    done = python(package.parent, script)
    assert done.stdout == "(i64) -> i64 extism_alloc 2 ['context', 'core'] prebuilt\n", done.stderr


def test_info_has_the_exports_of_the_contract(package: Path) -> None:
    info = json.loads((package / INFO_FILENAME).read_bytes())
    names = {entry["name"] for entry in info["exports"]}
    assert {"memory", "alloc", "reset", "extism_context"} <= names
    assert len(names) == 22
