"""The real compiler: whole, reproducible, and honest when it fails."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.base.cache import find_cache
from build_tools.base.files import read_digest
from build_tools.base.project import Project, find_project
from build_tools.kernel.abi import read_abi
from build_tools.kernel.compile import codegen_flags, compile_kernel
from build_tools.kernel.crate import read_crate
from build_tools.kernel.pipeline import Request, make_kernel
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FILENAMES, FLAVOURS, INFO_FILENAME
from build_tools.toolchain.find import Search, find_toolchain
from build_tools.toolchain.pins import read_pins
from build_tools.wasm.module import parse_module
from extism_kernel_pkg._wasm import SectionId
from tests.processes import is_alive, patience

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.kernel.values import Flavour, StagedKernel

NAMES = {*FILENAMES.values(), INFO_FILENAME}
TOOLS = [sys.executable, "-m", "build_tools", "--no-bootstrap"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_kernel_keeps_the_contract(flavour: Flavour, built: StagedKernel) -> None:
    """S-1 to S-7 and C-4, on the module as staged."""
    data = (built.folder / FILENAMES[flavour]).read_bytes()
    abi = read_abi(find_project().abi_toml)
    assert (
        check_module(parse_module(data), Expectation(abi=abi, flavour=flavour, version=built.version)) == []
    )


def test_flavours_are_the_same_code(built: StagedKernel) -> None:
    """S-4: one compilation, and the stamp touches no code."""
    codes = []
    for name in FILENAMES.values():
        module = parse_module((built.folder / name).read_bytes())
        section = module.parts.section(SectionId.CODE)
        assert section is not None
        codes.append(section.content)
    assert codes[0] == codes[1]


PLACEHOLDER = re.compile(r'"((?:[gs]et [^"]+|memory\.[a-z]+))"')


def test_compiler_keeps_every_placeholder_apart() -> None:
    """A rustc that takes two of them for one makes a kernel that looks sound and mixes up its globals."""
    project = find_project()
    abi = read_abi(project.abi_toml)
    target = read_pins(project.toolchain_toml).target
    search = Search(project=project, cache=find_cache(), codegen=codegen_flags(abi))
    crate = read_crate(project, target=target)
    compiled = compile_kernel(project, crate, abi, find_toolchain(search), target=target)
    imported = sorted(str(entry.name) for entry in wasmtime.Module(wasmtime.Engine(), compiled.data).imports)
    sources = sorted((project.kernel_src / "src").glob("*.rs"))
    assert imported == sorted(
        name for path in sources for name in PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
    )


def copy_checkout(target: Path) -> Project:
    """Copy what a build reads, into another folder."""
    ignore = shutil.ignore_patterns("target", "__pycache__", "*.part", *NAMES)
    for name in ("kernel-src", "build_tools", "extism_kernel_pkg"):
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    return Project(target)


def staged_in(folder: Path) -> set[str]:
    """Return what a build left: staged files and parts of them."""
    return {path.name for path in folder.iterdir() if path.name in NAMES or path.name.endswith(".part")}


def digests(folder: Path) -> dict[str, str]:
    return {name: read_digest(folder / name) for name in sorted(NAMES)}


def test_bytes_are_the_same_in_another_folder(
    built: StagedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_checkout(tmp_path / "another place")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name, value in {"TMPDIR": str(temporary), "TZ": "Asia/Kolkata", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    umask = os.umask(0o077)
    try:
        request = Request(
            project=project,
            cache=find_cache(),
            out=tmp_path / "out",
            allowed=frozenset({"size-budget"}),
        )
        again = make_kernel(request)
    finally:
        os.umask(umask)
    assert digests(again.folder) == digests(built.folder)


def run(argv: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(240),
    )


def test_rust_error_is_shown_with_its_place_and_nothing_is_staged(tmp_path: Path) -> None:
    project = copy_checkout(tmp_path)
    lib = project.kernel_src / "src" / "lib.rs"
    lib.write_text(lib.read_text(encoding="utf-8") + "\nfn broken( {}\n", encoding="utf-8")
    done = run([*TOOLS, "kernel"], tmp_path)
    assert done.returncode == 4
    assert re.search(r"error\[tool-failed\].*--> src/lib\.rs:\d+", done.stderr, re.DOTALL)
    assert "Traceback" not in done.stderr
    assert staged_in(project.package) == set()


ABI_FAULTS = {
    "unknown-key": ("[size]", "[size]\ncolour = 1", "unknown key `colour`"),
    "wrong-type": ("version = 2", 'version = "2"', "should be a whole number"),
    "duplicate": ('name = "free"', 'name = "alloc"', "`alloc` stands there twice"),
    "not-toml": ("[abi]", "[abi", "line"),
}


@pytest.mark.parametrize(("old", "new", "message"), ABI_FAULTS.values(), ids=ABI_FAULTS)
def test_faulty_abi_is_named_before_anything_is_compiled(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    project = copy_checkout(tmp_path)
    text = project.abi_toml.read_text(encoding="utf-8").replace(old, new, 1)
    project.abi_toml.write_text(text, encoding="utf-8")
    done = run([*TOOLS, "kernel"], tmp_path)
    assert done.returncode == 5
    assert message in done.stderr
    assert str(project.abi_toml) in done.stderr
    assert "compiling" not in done.stderr


def slow_rustc(folder: Path) -> Path:
    """Write a compiler that answers questions, and then compiles for ever."""
    libraries = folder / "lib/rustlib/wasm32-unknown-unknown/lib"
    libraries.mkdir(parents=True)
    (libraries / "libcore-1.rlib").touch()
    (folder / "lib/rustlib/h/bin").mkdir(parents=True)
    (folder / "lib/rustlib/h/bin/rust-lld").touch()
    path = folder / "rustc"
    path.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *sysroot*) echo {folder};; *-vV*) printf "release: 1.99.0\\nhost: h\\n";;\n'
        f"*) echo $$ > {folder}/pid; : > {folder}/started; sleep 300;; esac\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_interrupted_build_leaves_nothing_and_no_child(number: signal.Signals, tmp_path: Path) -> None:
    rustc = slow_rustc(tmp_path / "toolchain")
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    env = {
        "EXTISM_KERNEL_RUSTC": str(rustc),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    child = subprocess.Popen(
        [*TOOLS, "kernel", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever started the tests in the background may have had Ctrl-C ignored in all that follow.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    with child:
        wait_for(rustc.parent / "started")
        child.send_signal(number)
        _, said = child.communicate(timeout=patience(30))
    assert child.returncode == 130, said
    assert "interrupted; nothing half-written was left" in said
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []
    assert not out.exists()
    pid = int((rustc.parent / "pid").read_text(encoding="utf-8"))
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)  # a killed process may take a moment to go
    assert not is_alive(pid)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.05)


def test_killed_build_is_gone_on_the_next_run(built: StagedKernel, tmp_path: Path) -> None:
    rustc = slow_rustc(tmp_path / "toolchain")
    out = tmp_path / "out"
    argv = [*TOOLS, "kernel", "--allow", "size-budget", "--out", str(out)]
    env = {**os.environ, "EXTISM_KERNEL_RUSTC": str(rustc)}
    child = subprocess.Popen(argv, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(rustc.parent / "started")
    child.kill()
    child.wait()
    os.killpg(int((rustc.parent / "pid").read_text(encoding="utf-8")), signal.SIGKILL)
    done = run(argv, ROOT)
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(built.folder)


def test_two_at_once_both_end_well(built: StagedKernel, tmp_path: Path) -> None:
    argv = [*TOOLS, "kernel", "--allow", "size-budget", "--out", str(tmp_path / "out")]
    children = [
        subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [child.communicate(timeout=patience(240)) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said
    assert sum("up to date" in out for out, _ in said) == 2, "one builds, the others wait for it"
    assert digests(tmp_path / "out") == digests(built.folder)


def test_second_run_takes_under_three_seconds(built: StagedKernel) -> None:
    argv = [*TOOLS, "kernel", "--allow", "size-budget", "--out", str(built.folder)]
    before = os.times()
    done = run(argv, ROOT)
    after = os.times()
    # CPU time: what the clock says depends on what else the machine does.
    took = after.children_user + after.children_system - before.children_user - before.children_system
    assert "up to date; nothing to do" in done.stdout, done.stderr
    assert took < 3


def test_no_compiler_and_no_network_is_one_clear_error(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    env = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "CARGO_HOME": str(tmp_path / "cargo"),
    }
    done = run([*TOOLS, "kernel", "--offline", "--out", str(tmp_path / "out")], ROOT, **env)
    assert done.returncode == 3
    assert "error[toolchain-not-found]: no Rust toolchain that can make wasm32 was found" in done.stderr
    assert "PATH: no `rustc`" in done.stderr
    assert "hint: install Rust from https://rustup.rs" in done.stderr
    assert not (tmp_path / "out").exists()
