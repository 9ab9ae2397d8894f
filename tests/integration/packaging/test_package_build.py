"""Every way to build gives the same wheel, with and without a compiler, from a checkout or the sdist."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from build_tools.base.archive import parse_tar_gz, parse_zip
from build_tools.base.project import find_project, read_toml
from build_tools.env.pythons import SUPPORTED, find_python
from build_tools.release.wheelfile import check_wheel
from tests.integration.packaging.support import (
    LOOSELY,
    PACKED_VARIABLE,
    digest,
    fetch_into,
    find_only,
    new_venv,
    pip_of,
    run,
)

if TYPE_CHECKING:
    from tests.integration.packaging.support import BuildTools, Done, Env, Release

EMPTY_MODULE = b"\0asm\1\0\0\0"

pytestmark = pytest.mark.slow


def only_wheel(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def call_backend(checkout: Path, out: Path, hook: str, *, check: bool = True, env: Env | None = None) -> Done:
    """Call a hook of the backend as a frontend without isolation does."""
    code = f"from build_tools.release import backend; backend.{hook}({str(out)!r})"
    return run(sys.executable, "-c", code, cwd=checkout, check=check, env=env)


def set_version(checkout: Path, version: str) -> None:
    cargo = checkout / "kernel-src" / "Cargo.toml"
    lines = cargo.read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("version = "))
    lines[at] = f'version = "{version}"'
    cargo.write_text("\n".join(lines) + "\n")


def test_wheel_holds_exactly_what_a_release_holds(release: Release) -> None:
    members = parse_zip(release.wheel.read_bytes(), release.wheel.name)
    version = release.wheel.name.split("-")[1]
    assert [finding.message for finding in check_wheel(members, version=version)] == []
    assert not [member.name for member in members if member.name.startswith(("build_tools", "tests"))]


def test_wheel_members_are_packed_dated_and_end_with_record(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        infos = archive.infolist()
    assert {info.compress_type for info in infos if info.file_size > 100} == {zipfile.ZIP_DEFLATED}
    assert {info.external_attr >> 16 for info in infos} == {0o100644}
    assert len({info.date_time for info in infos}) == 1
    assert infos[-1].filename.endswith(".dist-info/RECORD")


def names_in(sdist: Path) -> set[str]:
    members = parse_tar_gz(sdist.read_bytes(), sdist.name)
    return {member.name.split("/", 1)[1] for member in members} - {"PKG-INFO"}


def test_sdist_holds_what_git_tracks_and_nothing_else(release: Release, checkout: Path) -> None:
    tracked = run("git", "ls-files", "-z", cwd=checkout).stdout.split("\0")
    assert names_in(release.sdist) == {name for name in tracked if name}


def test_suites_sdist_holds_what_git_tracks_of_it(release: Release, checkout: Path) -> None:
    folder = checkout / "tests" / "conformance"
    tracked = run("git", "ls-files", "-z", cwd=folder).stdout.split("\0")
    sdist = find_only(release.folder, "extism_kernel_conformance-*.tar.gz")
    assert names_in(sdist) == {name for name in tracked if name}


def test_sdist_of_a_used_checkout_holds_no_leavings(own_checkout: Path, kernel: Path, tmp_path: Path) -> None:
    """A frontend packs the folder as it is, with what builds and tests left there."""
    tracked = run("git", "ls-files", "-z", cwd=own_checkout).stdout.split("\0")
    for name in kernel.iterdir():
        shutil.copy(name, own_checkout / "extism_kernel_pkg")
    leavings = (
        "kernel-src/target/x.rs",
        ".venv/x.py",
        "build/x.py",
        "dist/x.whl",
        "tests/a/node_modules/x.js",
    )
    for left in (
        *leavings,
        "tests/.pytest_cache/x.json",
        "tests/__pycache__/x.pyc",
        "build_tools/x.json.part",
    ):
        (own_checkout / left).parent.mkdir(parents=True, exist_ok=True)
        (own_checkout / left).touch()
    call_backend(own_checkout, tmp_path, "build_sdist")
    assert names_in(find_only(tmp_path, "*.tar.gz")) == {name for name in tracked if name}


def test_wheel_carries_the_compiled_kernel(release: Release, kernel: Path) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        for name in ("extism-runtime.wasm", "extism-runtime-core.wasm", "kernel_info.json"):
            assert archive.read(f"extism_kernel_pkg/{name}") == (kernel / name).read_bytes()


def test_suites_wheel_runs_alone(release: Release, tmp_path: Path) -> None:
    wheel = find_only(release.folder, "extism_kernel_conformance-*.whl")
    python = new_venv(tmp_path / "venv")
    run(*pip_of(python), "install", "-q", "--no-index", wheel, cwd=tmp_path)
    listed = run(python.parent / "extism-kernel-conformance", "cases", "--list", cwd=tmp_path).stdout
    assert len(listed.splitlines()) > 100


def test_sums_are_accepted_by_sha256sum(release: Release) -> None:
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release.folder)


@pytest.mark.parametrize("tool", ["pip", "build", "uv"])
def test_frontend_compiles_a_clean_checkout_to_the_same_wheel(
    tool: str, release: Release, own_checkout: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    commands: dict[str, list[str | Path]] = {
        "pip": ["pip", "wheel", "--no-deps", "-w", out, own_checkout],
        "build": ["build", "--wheel", "--outdir", out, own_checkout],
        "uv": ["uv", "build", "--wheel", "--out-dir", out, own_checkout],
    }
    run(sys.executable, "-m", *commands[tool], cwd=tmp_path)
    # The release was made from a prebuilt kernel, this one is compiled: the bytes are the same.
    assert digest(only_wheel(out)) == digest(release.wheel)
    left = run("git", "status", "--porcelain", cwd=own_checkout).stdout
    assert left == "", "a build leaves nothing in the checkout"


@pytest.mark.parametrize("version", SUPPORTED)
def test_python_builds_the_same_wheel_from_the_sdist_without_a_compiler(
    version: str, release: Release, prebuilt: Path, tmp_path: Path
) -> None:
    found = find_python(version)
    if found is None:
        pytest.skip(f"no Python {version} here (fix it with `uv python install {version}`)")
    env = {
        "PATH": "/usr/bin:/bin",
        "EXTISM_KERNEL_RUSTC": "/nonexistent",
        "EXTISM_KERNEL_PREBUILT": str(prebuilt),
    }
    # uv makes an environment in a tenth of pip's time; that pip builds the same is shown above.
    options: list[str | Path] = ["--wheel", "--python", found.path, "--out-dir", tmp_path]
    run(sys.executable, "-m", "uv", "build", *options, release.sdist, cwd=tmp_path, env=env)
    assert digest(only_wheel(tmp_path)) == digest(release.wheel)


LOWEST = re.compile(r"^([A-Za-z-]+)>=([\d.]+)", re.MULTILINE)


def lowest_requirements(checkout: Path) -> list[str]:
    """Return the lowest versions that the build says it works with."""
    declared = read_toml(checkout / "pyproject.toml")["build-system"]["requires"]
    text = (checkout / "build_tools" / "requirements" / "build.in").read_text()
    return sorted({f"{name}=={version}" for name, version in LOWEST.findall("\n".join([*declared, text]))})


def test_lowest_versions_of_the_ranges_build_the_same_wheel(
    release: Release, checkout: Path, prebuilt: Path, tmp_path: Path
) -> None:
    """With a prebuilt kernel alone and validated, so that every range is used."""
    python = new_venv(tmp_path / "venv")
    lowest = lowest_requirements(checkout)
    assert any(pin.startswith("scikit-build-core==") for pin in lowest)
    assert any(pin.startswith("wasmtime==") for pin in lowest)
    done = fetch_into(python, *lowest, "cmake", "ninja", check=False)
    if done.returncode != 0:
        pytest.skip(f"the lowest versions cannot be installed here: {done.stderr[-300:]}")
    options = ["--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    env = {"EXTISM_KERNEL_PREBUILT": str(prebuilt)}
    run(*pip_of(python), "wheel", *options, release.sdist, cwd=tmp_path, env=env)
    assert digest(only_wheel(tmp_path)) == digest(release.wheel)


NO_NETWORK = {
    "PIP_NO_INDEX": "1",
    "CARGO_NET_OFFLINE": "true",
    **{f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")},
    **{f"{kind}_PROXY": "http://127.0.0.1:9" for kind in ("HTTP", "HTTPS", "ALL")},
}


def without_network(*argv: str | Path) -> list[str | Path]:
    """Return a command that runs where there is no network, if this system lets us say so."""
    fence = ("unshare", "--map-root-user", "--net")
    if shutil.which("unshare") and run(*fence, "true", cwd=Path("/"), check=False).returncode == 0:
        return [*fence, *argv]
    return [*argv]


@pytest.mark.parametrize("is_prebuilt", [True, False], ids=["prebuilt", "compiled"])
def test_wheel_command_needs_no_network_once_its_environment_is_made(
    is_prebuilt: bool, checkout: Path, prebuilt: Path, release: Release, tmp_path: Path
) -> None:
    options: list[str | Path] = ["--prebuilt", prebuilt] if is_prebuilt else []
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "build_tools",
        "--no-bootstrap",
        "wheel",
        "--out",
        tmp_path / "dist",
    ]
    run(*without_network(*command, *options), cwd=checkout, env=NO_NETWORK)
    for path in (release.wheel, release.sdist):
        assert digest(tmp_path / "dist" / path.name) == digest(path)


def test_pip_builds_without_isolation_and_without_network(release: Release, tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
    ]
    run(*without_network(*command, release.sdist), cwd=tmp_path, env=NO_NETWORK)
    assert digest(only_wheel(tmp_path)) == digest(release.wheel)


def test_finished_kernel_is_packaged_without_any_library_for_modules(
    release: Release, prebuilt: Path, tmp_path: Path
) -> None:
    python = new_venv(tmp_path / "venv")
    lock = find_project().tools / "requirements" / "build-system.txt"
    pins = [line.split()[0] for line in lock.read_text().splitlines() if "==" in line]
    kept = [pin for pin in pins if not pin.startswith(("wasmtime", "wasm-tools", "tomli", "exceptiongroup"))]
    fetch_into(python, *kept)
    for library in ("wasmtime", "wasm_tools"):
        assert run(python, "-c", f"import {library}", cwd=tmp_path, check=False).returncode != 0
    env = {"EXTISM_KERNEL_PREBUILT": str(prebuilt), "EXTISM_KERNEL_RUSTC": "/nonexistent"}
    options = ["--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    run(*pip_of(python), "wheel", *options, release.sdist, cwd=tmp_path, env=env)
    assert digest(only_wheel(tmp_path)) == digest(release.wheel)
    # Alone, without its info, the module cannot be judged there.
    alone = Path(shutil.copy(prebuilt, tmp_path))
    again: list[str | Path] = [*pip_of(python), "wheel", *options, release.sdist]
    done = run(
        *again,
        cwd=tmp_path,
        env=env | {"EXTISM_KERNEL_PREBUILT": str(alone)},
        check=False,
    )
    assert done.returncode != 0
    assert "this Python lacks" in done.stdout + done.stderr


def test_config_setting_names_the_prebuilt_kernel(release: Release, prebuilt: Path, tmp_path: Path) -> None:
    options: list[str | Path] = [
        "--no-deps",
        "--no-build-isolation",
        "--config-settings",
        f"kernel.prebuilt={prebuilt}",
        "-w",
        tmp_path,
    ]
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *options,
        release.sdist,
        cwd=tmp_path,
        env={"EXTISM_KERNEL_RUSTC": "/nonexistent"},
    )
    assert digest(only_wheel(tmp_path)) == digest(release.wheel)


def test_prebuilt_module_that_is_no_kernel_is_refused(checkout: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wasm"
    empty.write_bytes(EMPTY_MODULE)
    done = call_backend(
        checkout, tmp_path, "build_wheel", check=False, env={"EXTISM_KERNEL_PREBUILT": str(empty)}
    )
    assert done.returncode != 0
    assert "export-missing" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize("name", ["extism-runtime.wasm", "extism-runtime-core.wasm"])
def test_prebuilt_module_of_either_flavour_gives_the_same_kernel(
    name: str, kernel: Path, checkout: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    called_tools(checkout, "kernel", "--prebuilt", kernel / name, "--out", tmp_path / "again")
    for path in ("extism-runtime.wasm", "extism-runtime-core.wasm", "kernel_info.json"):
        assert digest(tmp_path / "again" / path) == digest(kernel / path)


def test_toolchain_of_a_prebuilt_module_is_unknown_without_its_info(
    kernel: Path, checkout: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    alone = Path(shutil.copy(kernel / "extism-runtime.wasm", tmp_path))
    info = json.loads((kernel / "kernel_info.json").read_bytes())
    other = {**info, "source_sha256": "0" * 64}
    for beside in (None, "not json", json.dumps(other)):
        if beside is not None:
            (tmp_path / "kernel_info.json").write_text(beside)
        called_tools(checkout, "kernel", "--prebuilt", alone, "--out", tmp_path / "out")
        staged = json.loads((tmp_path / "out" / "kernel_info.json").read_bytes())
        assert staged["toolchain"] == {"origin": "prebuilt", "is_release": False}
        shutil.rmtree(tmp_path / "out")


def test_kernel_is_built_where_no_cache_can_be_written(
    prebuilt: Path, checkout: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    env = {"XDG_CACHE_HOME": str(tmp_path / "file" / "cache")}
    done = build_tools(checkout, "kernel", "--prebuilt", prebuilt, "--out", tmp_path / "out", env=env)
    assert "warning[no-cache]" in done.stderr
    assert digest(tmp_path / "out" / prebuilt.name) == digest(prebuilt)


def test_source_date_epoch_is_the_time_of_every_member(checkout: Path, tmp_path: Path) -> None:
    env = {"SOURCE_DATE_EPOCH": "1700000000", PACKED_VARIABLE: LOOSELY}
    call_backend(checkout, tmp_path, "build_sdist", env=env)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert {info.mtime for info in archive} == {1700000000}


@pytest.mark.parametrize("hook", ["build_sdist", "build_wheel"])
@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1.5"])
def test_malformed_source_date_epoch_is_refused(hook: str, text: str, checkout: Path, tmp_path: Path) -> None:
    done = call_backend(checkout, tmp_path, hook, check=False, env={"SOURCE_DATE_EPOCH": text})
    assert done.returncode == 2
    assert "error[epoch-malformed]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["1.0.0-dev.1", "1.0", "1.0.0.post1", "1.0.0+local", "1!1.0.0"])
def test_version_that_ecosystems_order_differently_is_refused(
    version: str, own_checkout: Path, tmp_path: Path
) -> None:
    set_version(own_checkout, version)
    done = call_backend(own_checkout, tmp_path / "out", "build_sdist", check=False)
    assert done.returncode == 6
    assert "error[version]" in done.stderr
    assert "Traceback" not in done.stderr


def test_prerelease_is_spelled_as_python_spells_it(own_checkout: Path, tmp_path: Path) -> None:
    set_version(own_checkout, "1.2.0-rc.3")
    call_backend(own_checkout, tmp_path / "out", "build_sdist", env={PACKED_VARIABLE: LOOSELY})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["extism_kernel-1.2.0rc3.tar.gz"]


def test_wheel_command_prints_and_records_the_same_digests_again(
    checkout: Path, prebuilt: Path, build_tools: BuildTools, tmp_path: Path, release: Release
) -> None:
    done = build_tools(checkout, "wheel", "--json", "--out", tmp_path, "--prebuilt", prebuilt)
    printed = {entry["name"]: entry["sha256"] for entry in json.loads(done.stdout)}
    built = [path for path in release.folder.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    assert printed == {path.name: digest(path) for path in built}
    assert len(printed) == 4, "the kernel's wheel and sdist, and the suite's"
    records = ["SHA256SUMS", "provenance.intoto.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*records, *printed])
    for name in records:
        assert (tmp_path / name).read_bytes() == (release.folder / name).read_bytes()


def test_failed_build_leaves_no_folder_behind(
    checkout: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.wasm"
    empty.write_bytes(EMPTY_MODULE)
    out = tmp_path / "dist"
    done = build_tools(checkout, "wheel", "--out", out, "--prebuilt", empty, check=False)
    assert done.returncode == 4
    assert "export-missing" in done.stderr
    assert not out.exists()
