"""`python -m build_tools verify` and `extism-kernel verify` are one command over one list of records."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from wasmtime import wat2wasm

from build_tools.base.archive import Member, make_tar_gz, make_zip
from build_tools.base.files import sha256_of
from build_tools.kernel.values import VERSION_SECTION
from extism_kernel_pkg._wasm import encode_name, encode_unsigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.packaging.support import BuildTools, Release

FUNCTIONS = ("alloc", "free", "length", "load_u8", "store_u8", "input_set", "output_set")

pytestmark = pytest.mark.slow


def kernel_like(prefix: str = "") -> bytes:
    """A module that exports what a kernel exports."""
    exports = "".join(f'(func (export "{prefix}{name}"))' for name in FUNCTIONS)
    return bytes(wat2wasm(f'(module (memory (export "memory") 1) {exports})'))


def stamped(module: bytes, version: str) -> bytes:
    """The module with a version section of ours at its end."""
    content = encode_name(VERSION_SECTION) + version.encode()
    return module + b"\0" + encode_unsigned(len(content)) + content


@pytest.fixture(scope="module")
def tree(checkout: Path, kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a staged kernel and an older release on record."""
    tree = tmp_path_factory.mktemp("verify") / "tree"
    shutil.copytree(checkout, tree)
    for path in kernel.iterdir():
        if path.is_file():
            shutil.copy(path, tree / "extism_kernel_pkg" / path.name)
    older = {"version": "0.9.0", "modules": {"context": sha256_of(stamped(kernel_like(), "0.9.0"))}}
    known = {"schema": 1, "releases": [older]}
    (tree / "extism_kernel_pkg" / "known_digests.json").write_text(json.dumps(known))
    return tree


def verify(build_tools: BuildTools, tree: Path, path: Path) -> tuple[int, list[dict[str, Any]]]:
    done = build_tools(tree, "verify", path, "--json", check=False)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == done.returncode
    return done.returncode, answer["kernels"]


def altered(kernel: bytes) -> bytes:
    """The kernel with its last byte of code changed; the stamp stays."""
    at = kernel.index(b"\x0b", len(kernel) // 2)
    return kernel[:at] + b"\x01" + kernel[at + 1 :]


ANSWERS: dict[str, tuple[str, int, Callable[[bytes], bytes]]] = {
    "our-kernel": ("current", 0, lambda kernel: kernel),
    "older-release": ("stale", 10, lambda _: stamped(kernel_like(), "0.9.0")),
    "version-not-on-record": ("unknown", 12, lambda _: stamped(kernel_like(), "7.0.0")),
    "no-stamp": ("unknown", 12, lambda _: kernel_like()),
    "changed-byte": ("altered", 13, altered),
    "cut-short": ("altered", 13, lambda kernel: kernel[:-7]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_module_gets_its_answer_and_exit_code(
    name: str, tree: Path, prebuilt: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    answer, code, make = ANSWERS[name]
    path = tmp_path / "vendored.wasm"
    path.write_bytes(make(prebuilt.read_bytes()))
    returned, modules = verify(called_tools, tree, path)
    assert [module["answer"] for module in modules] == [answer]
    assert returned == code


def test_kernels_inside_archives_and_folders_are_found(
    tree: Path, release: Release, prebuilt: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    data = prebuilt.read_bytes()
    jar = make_zip([Member(name="META-INF/extism/extism-runtime.wasm", data=data)], epoch=0)
    (tmp_path / "sdk.jar").write_bytes(jar)
    tarball = [Member(name="package/k.wasm", data=data), Member(name="package/inner.jar", data=jar)]
    (tmp_path / "sdk.tgz").write_bytes(make_tar_gz(tarball, epoch=0))
    (tmp_path / "other.wasm").write_bytes(bytes(wat2wasm("(module)")))
    shutil.copy(release.wheel, tmp_path)
    returned, modules = verify(called_tools, tree, tmp_path)
    found = sorted(module["where"].removeprefix(f"{tmp_path}/") for module in modules)
    assert found == [
        f"{release.wheel.name}!/extism_kernel_pkg/extism-runtime-core.wasm",
        f"{release.wheel.name}!/extism_kernel_pkg/extism-runtime.wasm",
        "sdk.jar!/META-INF/extism/extism-runtime.wasm",
        "sdk.tgz!/sdk.tar!/package/inner.jar!/META-INF/extism/extism-runtime.wasm",
        "sdk.tgz!/sdk.tar!/package/k.wasm",
    ]
    assert {module["answer"] for module in modules} == {"current"}
    assert {module["flavour"] for module in modules} == {"context", "core"}
    assert returned == 0


def test_worst_module_decides_the_exit_code(
    tree: Path, prebuilt: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    (tmp_path / "a.wasm").write_bytes(prebuilt.read_bytes())
    (tmp_path / "b.wasm").write_bytes(altered(prebuilt.read_bytes()))
    (tmp_path / "c.wasm").write_bytes(kernel_like())
    assert verify(build_tools, tree, tmp_path)[0] == 13


def test_folder_without_modules_says_so(tree: Path, called_tools: BuildTools, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("no module here")
    assert verify(called_tools, tree, tmp_path) == (15, [])


def test_broken_archive_is_named_and_has_its_exit_code(
    tree: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    path = tmp_path / "broken.whl"
    path.write_bytes(b"PK\x03\x04 and then nothing" * 9)
    done = called_tools(tree, "verify", path, check=False)
    assert done.returncode == 16
    assert "not looked into" in done.stdout


def test_missing_path_is_malformed_input(tree: Path, called_tools: BuildTools, tmp_path: Path) -> None:
    done = called_tools(tree, "verify", tmp_path / "absent.wasm", check=False)
    assert done.returncode == 5
    assert "error[file-missing]" in done.stderr


def test_released_digests_are_remembered_once(
    checkout: Path, release: Release, build_tools: BuildTools, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(checkout, tree)
    known = tree / "extism_kernel_pkg" / "known_digests.json"
    for _ in range(2):
        build_tools(tree, "remember", release.folder)
        releases = json.loads(known.read_bytes())["releases"]
        assert [set(entry["modules"]) for entry in releases] == [{"context", "core"}]
    # A later version makes the released one stale, and it is recognised without a staged kernel.
    entry = {"version": "99.0.0", "modules": {"context": "0" * 64}}
    known.write_text(json.dumps({"schema": 1, "releases": [*releases, entry]}))
    code, modules = verify(build_tools, tree, release.wheel)
    assert code == 10
    assert {module["answer"] for module in modules} == {"stale"}


def test_malformed_list_of_digests_is_named(
    checkout: Path, prebuilt: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(checkout, tree)
    (tree / "extism_kernel_pkg" / "known_digests.json").write_text('{"schema": 1, "releases": [{}]}')
    done = called_tools(tree, "verify", prebuilt, check=False)
    assert done.returncode == 5
    assert "known_digests.json" in done.stderr
