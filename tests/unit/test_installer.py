"""pip for a Python without `ensurepip`, with an apt and a dpkg of our own that work on files of a test."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import DiskFullError, PythonEnvironmentError
from build_tools.checks import doctor
from build_tools.env import pip as installer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeProgram = Callable[[str, str], Path]

DEB = b"a package"
EMPTY = r"\000" * 18  # as the end of an archive without members has it
WHEEL = f"{installer.WHEELS}/pip-1.0-py3-none-any.whl"
APT = """
case "$*" in
*update*)
  echo update >> INDEX/calls
  [ -e INDEX/full ] && { echo 'E: Write error - write (28: No space left on device)' >&2; exit 100; }
  [ -e INDEX/offline ] && { echo 'E: Could not resolve host' >&2; exit 100; }
  [ -e INDEX/unreachable ] && exit 100;;
*--print-uris*)
  [ -e INDEX/empty ] || [ -e INDEX/offline ] && exit 100
  echo "'http://x/y.deb' python3-pip-whl_1.0_all.deb 9 SHA256:DIGEST";;
*download*)
  echo download >> INDEX/calls
  printf 'a package' > ./python3-pip-whl_1.0_all.deb;;
esac
exit 0
"""
DPKG = f"""
/bin/mkdir -p "$3/{installer.WHEELS}"
printf 'PK\\005\\006{EMPTY}' > "$3/{WHEEL}"
"""


@pytest.fixture
def index(make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with apt and without pip."""
    folder = tmp_path / "index"
    folder.mkdir()
    script = APT.replace("INDEX", str(folder)).replace("DIGEST", hashlib.sha256(DEB).hexdigest())
    make_program("apt-get", script)
    make_program("dpkg-deb", DPKG)
    monkeypatch.setattr(installer, "SYSTEM", tmp_path / "no system")
    return folder


def calls(index: Path) -> list[str]:
    path = index / "calls"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def test_wheel_is_fetched_once_and_kept(index: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = installer.find_wheel(cache)
    assert found == cache / "pip" / WHEEL
    assert found.is_file()
    assert installer.find_wheel(cache) == found
    assert calls(index) == ["update", "download"]


def test_wheel_of_the_system_needs_no_network(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "system" / WHEEL
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"PK\5\6" + bytes(18))
    monkeypatch.setattr(installer, "SYSTEM", tmp_path / "system")
    assert installer.find_wheel(tmp_path / "cache") == wheel
    assert calls(index) == []


def test_wheel_is_run_to_install_itself(
    index: Path, make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "has_ensurepip", lambda: False)
    python = make_program("python", f'echo "$@" > {tmp_path}/asked')
    installer.add_pip(python, tmp_path / "cache")
    wheel = tmp_path / "cache" / "pip" / WHEEL
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert asked == f"{wheel}/pip install -q --no-index --no-deps {wheel}\n"
    assert "download" in calls(index)


def test_python_with_ensurepip_needs_no_wheel(
    index: Path, make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "has_ensurepip", lambda: True)
    python = make_program("python", f'echo "$@" > {tmp_path}/asked')
    installer.add_pip(python, tmp_path / "cache")
    assert (tmp_path / "asked").read_text(encoding="utf-8").startswith("-Im ensurepip ")
    assert calls(index) == []


@pytest.mark.parametrize("has_ensurepip", [True, False])
def test_full_disk_is_named_while_pip_is_installed(
    index: Path,
    make_program: MakeProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_ensurepip: bool,
) -> None:
    assert index.is_dir()
    monkeypatch.setattr(installer, "has_ensurepip", lambda: has_ensurepip)
    python = make_program("python", "echo 'OSError: [Errno 28] No space left on device'; exit 1")
    with pytest.raises(DiskFullError, match="No space left on device"):
        installer.add_pip(python, tmp_path / "cache")


FAULTS = {
    "offline": "Could not resolve host",
    "empty": "is not in the package lists",
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.items())
def test_what_stands_in_the_way_is_named_with_the_command_that_fixes_it(
    fault: str, message: str, index: Path, tmp_path: Path
) -> None:
    (index / fault).touch()
    with pytest.raises(PythonEnvironmentError, match=message) as caught:
        installer.find_wheel(tmp_path / "cache")
    assert "lacks `ensurepip`" in caught.value.message
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"`sudo apt-get install python{version}-venv`" in str(caught.value.hint)


def test_source_that_does_not_answer_is_passed_over_if_another_has_pip(index: Path, tmp_path: Path) -> None:
    (index / "unreachable").touch()
    assert installer.find_wheel(tmp_path / "cache").name.startswith("pip-")


def test_full_disk_is_not_taken_for_a_missing_network(index: Path, tmp_path: Path) -> None:
    (index / "full").touch()
    with pytest.raises(DiskFullError, match="the disk is full") as caught:
        installer.find_wheel(tmp_path / "cache")
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_package_without_a_wheel_is_named(index: Path, make_program: MakeProgram, tmp_path: Path) -> None:
    assert index.is_dir()
    make_program("dpkg-deb", "exit 0")
    with pytest.raises(PythonEnvironmentError, match="has no wheel of pip"):
        installer.find_wheel(tmp_path / "cache")


def test_doctor_says_where_pip_comes_from(
    index: Path, make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.is_dir()
    monkeypatch.setattr(installer, "has_ensurepip", lambda: False)
    found = doctor._python()
    assert (found.state, found.fix) == ("ok", None)
    assert "python3-pip-whl, no root needed" in found.found
    make_program("apt-get", "").unlink()
    found = doctor._python()
    assert found.state == "missing"
    assert "package of pip" in str(found.fix)


def test_system_without_apt_is_told(
    make_program: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program("nothing", "")
    monkeypatch.setattr(installer, "SYSTEM", tmp_path)
    with pytest.raises(PythonEnvironmentError, match="there is no apt"):
        installer.find_wheel(tmp_path / "cache")
