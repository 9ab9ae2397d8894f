"""A damaged cache heals: each kind of file in it is cut in turn, and the next run repairs it or says how."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import zipfile
from pathlib import Path

import pytest

from build_tools.base.errors import BuildToolsError, ExitCode, ToolFailedError
from build_tools.base.inventory import INVENTORY, find_damaged, write_inventory
from build_tools.base.project import find_project
from build_tools.bench import upstream
from build_tools.cli import main as cli
from build_tools.env import damage, environment
from build_tools.env import pip as installer
from build_tools.kernel import compile as compiling
from build_tools.kernel.abi import read_abi
from build_tools.kernel.crate import read_crate
from build_tools.toolchain import debian, sysroot
from build_tools.toolchain.values import Toolchain

from .test_debian import fetch, index, offer, package, pins  # noqa: F401 - `index` is a fixture

TARGET = "wasm32-unknown-unknown"


def cut(path: Path) -> None:
    """Leave half of a file, and none of a short one."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("how", ["cut", "removed"])
def test_every_file_of_an_unpacked_toolchain_is_repaired(
    how: str,
    index: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry, cache = package("rustc"), tmp_path / "cache"
    offer(index, entry)
    root = fetch(pins(entry), cache).root
    good = {name: (root / name).read_bytes() for name in list_files(root)}
    assert set(good) == {"usr/bin/rustc", "usr/bin/linker", debian.COMPLETE, INVENTORY}
    for name in sorted(good, key=lambda name: name == INVENTORY):
        if how == "cut":
            cut(root / name)
        else:
            (root / name).unlink()
        fetch(pins(entry), cache, may_download=False)
        if (how, name) != ("removed", INVENTORY):  # one of an older run has none
            assert {each: (root / each).read_bytes() for each in list_files(root)} == good, name
    assert "is damaged; unpacking it again" in caplog.text


def test_download_that_was_cut_is_fetched_again(
    index: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    entry, cache = package("rustc"), tmp_path / "cache"
    offer(index, entry)
    root = fetch(pins(entry), cache).root
    (archive,) = (cache / "packages").glob("*.deb")
    cut(archive)
    cut(root / "usr/bin/rustc")
    fetch(pins(entry), cache)
    assert archive.read_bytes() == (root / "usr/bin/rustc").read_bytes() == (index / "rustc.deb").read_bytes()


def test_every_file_of_a_sysroot_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def compile_library(argv: list[object], **_: object) -> str:
        out = next(str(part)[2:] for part in argv if str(part).startswith("-o"))
        calls.append(Path(out).name)
        Path(out).write_bytes(b"library" * 10)
        return ""

    monkeypatch.setattr(sysroot, "run", compile_library)

    def make() -> Path:
        return sysroot.make_sysroot(
            tmp_path,
            rustc=Path("rustc"),
            identity="rustc 1",
            commit="c",
            library=tmp_path,
            target=TARGET,
            flags=(),
            env={},
        )

    folder = make()
    names = [name for name in list_files(folder) if name != "complete"]
    assert len(names) == 3
    for name in names:
        calls.clear()
        cut(folder / name)
        assert make() == folder
        assert calls == ["libcore.rlib", "libcompiler_builtins.rlib"], name
        assert find_damaged(folder) is None
    calls.clear()
    make()
    assert calls == []


def test_inventory_notices_what_is_longer_or_no_inventory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    assert find_damaged(tmp_path) is None, "an older folder has none"
    write_inventory(tmp_path)
    (tmp_path / "new").write_bytes(b"")
    assert find_damaged(tmp_path) is None, "what came later is nobody's"
    (tmp_path / "a").write_bytes(b"123")
    assert find_damaged(tmp_path) == "a"
    for bad in ("[]", "{}", "{"):
        (tmp_path / INVENTORY).write_text(bad, encoding="utf-8")
        assert find_damaged(tmp_path) == INVENTORY


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment of ours with one distribution installed."""
    folder = tmp_path / "venv"
    site = folder / "lib" / "python3.11" / "site-packages"
    (site / "thing-1.dist-info").mkdir(parents=True)
    (folder / environment.NOTES).mkdir()
    rows = []
    for name in ("thing.py", "thing.so", "thing-1.dist-info/METADATA"):
        data = f"the content of {name}".encode()
        (site / name).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}")
    rows += ["__pycache__/thing.pyc,,", "thing-1.dist-info/RECORD,,"]
    (site / "thing-1.dist-info" / "RECORD").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_every_installed_file_is_held_against_its_record(venv: Path) -> None:
    assert damage.find_damage(venv) is None
    site = venv / "lib" / "python3.11" / "site-packages"
    names = list_files(site)
    assert len(names) == 4
    for name in names:
        content = (site / name).read_bytes()
        cut(site / name)
        assert damage.find_damage(venv) == name
        (site / name).unlink()
        if name.endswith("RECORD"):
            assert damage.find_damage(venv) is None, "without one it is not installed; an import will fail"
        else:
            assert damage.find_damage(venv) == name
        (site / name).write_bytes(content)


@pytest.mark.parametrize(
    "failure",
    [
        ImportError("cannot import name"),
        SyntaxError("unexpected end"),
        OSError("file too short"),
        ValueError("x"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_failure_in_a_damaged_environment_names_the_one_command(
    failure: Exception, venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise failure

    monkeypatch.setattr(cli, "_main_inner", fail)
    monkeypatch.setattr("sys.prefix", str(venv))
    assert cli.main([]) == ExitCode.INTERNAL, "the environment is whole, so this is a bug"
    cut(venv / "lib" / "python3.11" / "site-packages" / "thing.py")
    assert cli.main([]) == ExitCode.TOOLCHAIN
    said = capsys.readouterr().err
    assert "error[environment]: the environment is damaged: `thing.py` is not what was installed" in said
    assert f"hint: remove it: `rm -r {venv}`, and run the same command again" in said


def test_environment_that_does_not_know_its_place_is_made_again(venv: Path) -> None:
    """As with an empty `pyvenv.cfg`: its Python runs, and takes the packages of another."""
    (venv / environment.NOTES / "made").touch()
    python = venv / "python"
    for said, is_healthy in ((str(venv), True), ("/usr", False)):
        python.write_text(f"#!/bin/sh\necho {said}\n", encoding="utf-8")
        python.chmod(0o755)
        assert environment._is_healthy(venv, python) == is_healthy


def test_wheel_of_pip_that_was_cut_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installer, "SYSTEM", tmp_path / "nothing")
    folder = tmp_path / "cache" / "pip" / installer.WHEELS
    folder.mkdir(parents=True)
    for version in ("1", "2"):
        with zipfile.ZipFile(folder / f"pip-{version}.whl", "w") as archive:
            archive.writestr("pip/__init__.py", "x" * 1000)
    assert installer.find_wheel(tmp_path / "cache").name == "pip-2.whl"
    cut(folder / "pip-2.whl")
    assert installer.find_wheel(tmp_path / "cache").name == "pip-1.whl"
    assert "pip-2.whl is no whole wheel" in caplog.text


def test_damaged_package_of_a_client_is_named_with_the_command(tmp_path: Path) -> None:
    path = tmp_path / "registry" / "extism-1.0" / "src" / upstream.FILENAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0asm")
    folder = path.parents[1]
    with pytest.raises(upstream.UpstreamError) as caught:
        upstream._read(path)
    assert caught.value.message.endswith(f"; remove it: `chmod -R u+w {folder} && rm -r {folder}`")


TOOLCHAIN = Toolchain(
    origin="path", rustc=Path("/x/usr/bin/rustc"), version="1.95.0", commit="c", host="h", llvm="22"
)
REPAIRS = {
    "rustup": ({"origin": "rustup"}, "rustup toolchain uninstall 1.95.0 && rustup toolchain install 1.95.0 "),
    "unpacked": ({"library_path": (Path("/x/lib"),)}, "`rm -r /x`, and run the same command again"),
    "system": ({}, "install `/x/usr/bin/rustc` again"),
}


@pytest.mark.parametrize(("changes", "repair"), REPAIRS.values(), ids=REPAIRS)
def test_compiler_with_damaged_libraries_is_named_with_the_command(
    changes: dict[str, object], repair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "error: crate `core` required to be available in rlib format, but was not found in this form"

    def fail(*_: object, **__: object) -> str:
        raise ToolFailedError("rustc", 1, said)

    monkeypatch.setattr(compiling, "run", fail)
    project = find_project()
    crate, abi = read_crate(project, target=TARGET), read_abi(project.abi_toml)
    toolchain = dataclasses.replace(TOOLCHAIN, **changes)  # type: ignore[arg-type]  # of its fields
    with pytest.raises(BuildToolsError) as caught:
        compiling.compile_kernel(project, crate, abi, toolchain, target=TARGET)
    assert repair in str(caught.value.hint)


def test_fault_in_the_source_is_no_damage() -> None:
    assert compiling.DAMAGE.search("error[E0425]: cannot find value `x`\n --> src/kernel.rs:1:1") is None
