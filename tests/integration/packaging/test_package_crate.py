"""The crate passes cargo's verification, is the file that cargo uploads, and embeds the kernel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from build_tools.base.archive import parse_tar_gz
from build_tools.base.project import read_toml
from tests.integration.packaging.clients import need_cargo
from tests.integration.packaging.support import digest, find_only, run

pytestmark = pytest.mark.slow

PROGRAM = """
use std::io::Write;
fn main() {
    let flavour = std::env::args().nth(1).unwrap();
    let module = if flavour == "core" { extism_kernel_wasm::CORE } else { extism_kernel_wasm::CONTEXT };
    assert!(extism_kernel_wasm::KERNEL_INFO.contains(extism_kernel_wasm::VERSION));
    std::io::stdout().write_all(module).unwrap();
}
"""


@pytest.fixture(scope="module")
def source(packages: Path, tree: Path) -> Path:
    """A copy of the crate's folder, where cargo may write; git ignores it in the checkout around it."""
    (folder,) = (path for path in (packages / "crate").iterdir() if path.is_dir())
    return Path(shutil.copytree(folder, tree / "build" / f"crate-{os.getpid()}"))


@pytest.fixture(scope="module")
def packed(packages: Path) -> Path:
    return find_only(packages / "crate", "*.crate")


def test_cargo_verifies_the_crate_and_packs_the_same_file(source: Path, packed: Path, tmp_path: Path) -> None:
    env = {"CARGO_TARGET_DIR": str(tmp_path)}
    run(need_cargo(), "package", "--offline", "--allow-dirty", "--quiet", cwd=source, env=env)
    assert digest(tmp_path / "package" / packed.name) == digest(packed)


def test_file_that_cargo_would_upload_is_ours(source: Path, packed: Path, tmp_path: Path) -> None:
    env = {"CARGO_TARGET_DIR": str(tmp_path)}
    # The folder is inside a checkout, as it is when a release goes out; cargo adds nothing of that.
    done = run(need_cargo(), "publish", "--dry-run", "--allow-dirty", cwd=source, env=env, check=False)
    if done.returncode != 0 and ("failed to update" in done.stderr or "download" in done.stderr):
        pytest.skip(f"cargo cannot ask its registry: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    assert digest(find_packed(tmp_path, packed.name)) == digest(packed)
    assert "warning: manifest" not in done.stderr, "cargo warns of what a manifest lacks"


def find_packed(target: Path, name: str) -> Path:
    return next(path for path in (target / "package").rglob(name))


def test_manifest_says_what_the_registry_shows(packed: Path, tmp_path: Path) -> None:
    members = {member.name.split("/", 1)[1]: member.data for member in parse_tar_gz(packed.read_bytes(), "")}
    (tmp_path / "Cargo.toml").write_bytes(members["Cargo.toml"])
    manifest = read_toml(tmp_path / "Cargo.toml")["package"]
    shown = {
        "authors",
        "description",
        "homepage",
        "keywords",
        "license",
        "readme",
        "repository",
    }
    assert shown <= manifest.keys()
    assert "docs" in manifest["metadata"]
    assert {"README.md", "LICENSE", "src/lib.rs", "src/kernel_info.json"} <= members.keys()


def test_documentation_and_its_example_pass(source: Path, tmp_path: Path) -> None:
    env = {"CARGO_TARGET_DIR": str(tmp_path), "RUSTDOCFLAGS": "-D warnings"}
    run(need_cargo(), "doc", "--offline", "--no-deps", "--quiet", cwd=source, env=env)
    run(need_cargo(), "test", "--offline", "--doc", "--quiet", cwd=source, env=env)


def test_crate_embeds_both_flavours(source: Path, kernel: Path, tmp_path: Path) -> None:
    cargo = need_cargo()
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text(
        '[package]\nname = "use-it"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
        f'[dependencies]\nextism-kernel-wasm = {{ path = "{source}" }}\n'
    )
    (tmp_path / "src" / "main.rs").write_text(PROGRAM)
    env = {"CARGO_TARGET_DIR": str(tmp_path / "target")}
    run(cargo, "build", "--offline", "--quiet", cwd=tmp_path, env=env)
    for flavour, name in (("context", "extism-runtime.wasm"), ("core", "extism-runtime-core.wasm")):
        run("sh", "-c", f"target/debug/use-it {flavour} > out.wasm", cwd=tmp_path)
        assert digest(tmp_path / "out.wasm") == digest(kernel / name)
