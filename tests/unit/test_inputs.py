"""What is up to date: a change of any file that decides the kernel builds it again; so does undoing it.

Only the inputs of the last build are remembered. So a change that was undone before the next run builds
nothing, and one that was built and then undone builds again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_tools.base.project import Project, find_project
from build_tools.kernel import pipeline
from build_tools.kernel.pipeline import Request, digest_inputs, make_kernel
from build_tools.kernel.stage import read_staged
from build_tools.kernel.values import FILENAMES, INFO_FILENAME, StagedKernel

ROOT = find_project().root
PACKAGES = ("base", "env", "wasm", "toolchain", "kernel")
# Found here without asking `Project`, which is what is tested.
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [
        *(ROOT / "kernel-src" / "src").rglob("*.rs"),
        *(ROOT / "extism_kernel_pkg" / "_wasm").rglob("*.py"),
        *(ROOT / "extism_kernel_pkg").glob("*.py"),
        *(path for name in PACKAGES for path in (ROOT / "build_tools" / name).rglob("*.py")),
        *(
            ROOT / "kernel-src" / name
            for name in ("abi.toml", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml")
        ),
        ROOT / "kernel-src" / ".cargo" / "config.toml",
        ROOT / "build_tools" / "toolchain.toml",
        ROOT / "build_tools" / "requirements" / "build.txt",
    ]
)
IMPORTED = """
import json, sys
import build_tools.kernel.pipeline
print(json.dumps([file for module in sys.modules.values() if (file := getattr(module, "__file__", None))]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The files that matter, in a folder where they may be changed."""
    root = tmp_path_factory.mktemp("inputs")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((ROOT / name).read_bytes())
    return Project(root)


@pytest.fixture
def request_(checkout: Project, tmp_path: Path) -> Request:
    return Request(project=checkout, cache=tmp_path / "cache", out=tmp_path / "out")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The inputs of each build; the builds themselves take no compiler here."""
    made: list[str] = []

    def make(request: Request) -> StagedKernel:
        made.append(digest_inputs(request))
        request.out.mkdir(exist_ok=True)
        flavours = {
            name: {"file": file, "size": 0, "sha256": "", "features": []} for name, file in FILENAMES.items()
        }
        toolchain = {"origin": "prebuilt", "is_release": False}
        info = {"version": "1", "abi_version": 1, "flavours": flavours, "toolchain": toolchain}
        for file in FILENAMES.values():
            (request.out / file).touch()
        (request.out / INFO_FILENAME).write_text(json.dumps(info), encoding="utf-8")
        return read_staged(request.out, info, is_fresh=True)

    monkeypatch.setattr(pipeline, "_make", make)
    return made


@pytest.mark.parametrize("name", FILES)
def test_change_of_any_file_builds_again_and_so_does_undoing_it(
    name: str, request_: Request, builds: list[str]
) -> None:
    make_kernel(request_)
    make_kernel(request_)
    assert len(builds) == 1, "nothing was changed"
    path = request_.project.root / name
    content = path.read_bytes()
    try:
        path.write_bytes(content + (b"// a change\n" if path.suffix == ".rs" else b"# a change\n"))
        make_kernel(request_)
        make_kernel(request_)
        assert len(builds) == 2
    finally:
        path.write_bytes(content)
    make_kernel(request_)
    assert len(builds) == 3
    assert builds[0] == builds[2] != builds[1]


def test_change_that_is_undone_before_the_next_run_builds_nothing(
    request_: Request, builds: list[str]
) -> None:
    make_kernel(request_)
    path = request_.project.abi_toml
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    path.write_bytes(content)
    make_kernel(request_)
    assert len(builds) == 1


@pytest.mark.parametrize("name", ["src/more.rs", "src/table.bin", "build.rs"])
def test_new_file_of_the_crate_builds_again(name: str, request_: Request, builds: list[str]) -> None:
    make_kernel(request_)
    path = request_.project.kernel_src / name
    path.write_bytes(b"")
    try:
        make_kernel(request_)
    finally:
        path.unlink()
    make_kernel(request_)
    assert len(builds) == 3


def test_removed_file_builds_again(request_: Request, builds: list[str]) -> None:
    make_kernel(request_)
    path = request_.project.kernel_src / ".cargo" / "config.toml"
    content = path.read_bytes()
    path.unlink()
    try:
        make_kernel(request_)
    finally:
        path.write_bytes(content)
    assert len(builds) == 2


def test_every_module_that_a_build_imports_is_an_input() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project = find_project()
    inputs = {os.fspath(path) for path in project.kernel_inputs() + project.tool_inputs()}
    imported = {
        name for name in json.loads(done.stdout) if Path(name).is_relative_to(ROOT) and ".venv" not in name
    }
    assert len(imported) > 20
    assert imported - inputs == set()
