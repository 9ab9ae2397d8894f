"""One checkout, one kernel and one release for all tests of packaging."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build_tools.ecosystems import ECOSYSTEMS
from tests.integration.packaging.clients import need_cargo
from tests.integration.packaging.package_index import PASSWORD
from tests.integration.packaging.publishing import CREDENTIALS
from tests.integration.packaging.support import (
    PACKED_VARIABLE,
    BuildTools,
    PackageIndex,
    Release,
    call_build_tools,
    digest,
    find_release,
    make_checkout,
    run_build_tools,
)
from tests.once import make_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.packaging.support import Done

HERE = Path(__file__).resolve().parent
TOOLCHAIN_MISSING = 3


@pytest.fixture(scope="session", autouse=True)
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pack alike data once in a run; see tests/packed/sitecustomize.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PACKED_VARIABLE, str(make_once(tmp_path_factory, "packed", lambda _: None)))
        yield


@pytest.fixture(scope="session")
def build_tools() -> BuildTools:
    """Run `python -m build_tools` of a checkout."""
    return run_build_tools


@pytest.fixture(scope="session")
def called_tools() -> BuildTools:
    """Run commands of a checkout in this process: for what another test runs as a process."""
    return call_build_tools


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout that no test changes."""

    def clone(folder: Path) -> None:
        make_checkout(folder / "extism-kernel")

    return make_once(tmp_path_factory, "checkout", clone) / "extism-kernel"


@pytest.fixture
def own_checkout(checkout: Path, tmp_path: Path) -> Path:
    """A clean checkout that the test may change."""
    # With what Python compiled there (times are copied, too), but not what it is just writing.
    unfinished = shutil.ignore_patterns("*.pyc.*")
    return Path(shutil.copytree(checkout, tmp_path / "own-checkout", symlinks=True, ignore=unfinished))


@pytest.fixture(scope="session")
def kernel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the kernel, compiled from the checkout."""

    def compile_it(out: Path) -> None:
        done = run_build_tools(checkout, "kernel", "--out", out, check=False)
        if done.returncode == TOOLCHAIN_MISSING:
            pytest.skip(f"{done.stderr.strip()} (fix it with `python -m build_tools doctor`)")
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "kernel-of-checkout", compile_it)


@pytest.fixture(scope="session")
def prebuilt(kernel: Path) -> Path:
    """The module that builds without a compiler are given."""
    return kernel / "extism-runtime.wasm"


@pytest.fixture(scope="session")
def tree(checkout: Path, kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a staged kernel."""

    def stage_it(out: Path) -> None:
        shutil.copytree(checkout, out, dirs_exist_ok=True)
        for name in ("extism-runtime.wasm", "extism-runtime-core.wasm", "kernel_info.json"):
            shutil.copy(kernel / name, out / "extism_kernel_pkg" / name)

    return make_once(tmp_path_factory, "tree-with-kernel", stage_it)


@pytest.fixture(scope="session")
def packages(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each ecosystem."""
    need_cargo()

    def package_them(out: Path) -> None:
        for name in ECOSYSTEMS:
            call_build_tools(tree, "package", name, "--out", out / name)

    return make_once(tmp_path_factory, "packages", package_them)


@pytest.fixture(scope="session")
def release(checkout: Path, prebuilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release of the checkout, with a prebuilt kernel; no test changes it."""

    def build(out: Path) -> None:
        run_build_tools(checkout, "wheel", "--out", out, "--prebuilt", prebuilt)

    return find_release(make_once(tmp_path_factory, "release", build))


@pytest.fixture
def own_release(release: Release, tmp_path: Path) -> Release:
    """A copy of the release that the test may change."""
    return find_release(Path(shutil.copytree(release.folder, tmp_path / "own-release")))


@pytest.fixture
def publish(index: PackageIndex, kernel: Path) -> Callable[..., Done]:
    """Publish a release from a checkout to the index."""
    if not json.loads((kernel / "kernel_info.json").read_bytes())["toolchain"]["is_release"]:
        pytest.skip("not the release toolchain, so publish refuses (fix it with `rustup toolchain install`)")

    def call(checkout: Path, release: Release, *options: str, **env: str) -> Done:
        arguments = ["--index", f"{index.url}/legacy/", "--simple", f"{index.url}/simple"]
        rebuilt = release.folder / "rebuilt.sums"
        if not rebuilt.exists():
            sums = [f"{digest(path)}  {path.name}\n" for path in release.folder.glob("extism_kernel*")]
            rebuilt.write_text("".join(sums))
        arguments += ["--rebuilt", str(rebuilt)]
        environ = CREDENTIALS | env
        arguments += ["--dist", str(release.folder), *options]
        done = call_build_tools(checkout, "publish", *arguments, check=False, env=environ)
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return call


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """A real index server on loopback."""
    folder = tmp_path / "index"
    folder.mkdir()
    program = [sys.executable, str(HERE / "package_index.py"), str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield PackageIndex(url=server.stdout.readline().strip(), folder=folder)
        finally:
            server.terminate()
