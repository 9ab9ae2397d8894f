"""What the tests of packaging share: running programs, checkouts, and the values that fixtures give."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from build_tools.base.project import Project, find_project
from build_tools.cli import release, stage, verify
from build_tools.cli.main import main
from build_tools.kernel.version import read_version
from build_tools.release.changelog import date_unreleased
from build_tools.release.sources import copy_sources

Done = subprocess.CompletedProcess[str]
Env = Mapping[str, str]
GIT_IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false")
OWNERS_SETTINGS = (
    "PIP_FIND_LINKS",
    "UV_FIND_LINKS",
    "SOURCE_DATE_EPOCH",
    "EXTISM_KERNEL_PREBUILT",
    "PYTHONPATH",
    # Copies of a checkout take along what Python compiled in it.
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
)
# Names a folder of this run for packed data (see tests/packed/sitecustomize.py), where it is set.
PACKED_VARIABLE = "EXTISM_KERNEL_TEST_PACKED"
# In place of a folder: pack fast and badly, where nothing is compared with what others packed.
LOOSELY = "loosely"
PACKED_ONCE = Path(__file__).resolve().parents[2] / "packed"


class BuildTools(Protocol):
    """`python -m build_tools` of a checkout, as the fixture `build_tools` gives it."""

    def __call__(
        self, checkout: Path, *arguments: str | Path, check: bool = True, env: Env | None = None
    ) -> Done: ...


@dataclass(frozen=True)
class Release:
    """What `python -m build_tools wheel` left in a folder."""

    folder: Path
    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class PackageIndex:
    """A running index: `folder` holds its files, its log and its switches."""

    url: str
    folder: Path

    @property
    def names(self) -> list[str]:
        """The files that it has taken."""
        return sorted(path.name for path in (self.folder / "files").iterdir())


def run(*argv: str | Path, cwd: Path, check: bool = True, env: Env | None = None) -> Done:
    """Run a program without the machine owner's settings for pip and uv; fail with its output by default."""
    if argv[0] == "git" and shutil.which("git") is None:
        pytest.skip("`git` is not on PATH; install it with `apt-get install git`")
    environ = {name: value for name, value in os.environ.items() if name not in OWNERS_SETTINGS}
    # uv brings its own list of authorities; a machine behind a proxy has others, which pip uses, too.
    environ |= {
        "UV_SYSTEM_CERTS": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # most of what is installed is imported once or never
        "NO_COLOR": "1",
    }
    if PACKED_VARIABLE in environ:
        environ["PYTHONPATH"] = str(PACKED_ONCE)
    done = subprocess.run(
        [os.fspath(part) for part in argv],
        cwd=cwd,
        env={**environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def run_build_tools(
    checkout: Path, *arguments: str | Path, check: bool = True, env: Env | None = None
) -> Done:
    """Run `python -m build_tools` of a checkout with this Python."""
    return run(
        sys.executable, "-m", "build_tools", "--no-bootstrap", *arguments, cwd=checkout, check=check, env=env
    )


def call_build_tools(
    checkout: Path, *arguments: str | Path, check: bool = True, env: Env | None = None
) -> Done:
    """Run a command in this process, with our sources, which are the checkout's.

    The libraries that check a release take a process three seconds to import, those of modules half a second.
    """
    argv = [os.fspath(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for commands in (release, stage, verify):
            patch.setattr(commands, "find_project", lambda: Project(checkout))
        patch.setenv("NO_COLOR", "1")
        for name in OWNERS_SETTINGS:
            patch.delenv(name, raising=False)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(argv)
        finally:
            signal.signal(signal.SIGTERM, handler)
    done = subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())
    if check and done.returncode != 0:
        pytest.fail(f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def make_checkout(folder: Path) -> Path:
    """Make a clean git checkout of the sources at hand, as on the day of a release: tagged and dated."""
    copy_sources(find_project().root, folder)
    version = read_version(folder / "kernel-src" / "Cargo.toml")
    changelog = folder / "CHANGELOG.md"
    text = date_unreleased(changelog.read_text(encoding="utf-8"), version, "2026-01-01")
    changelog.write_text(text, encoding="utf-8")
    run("git", "init", "-q", cwd=folder)
    commit(folder)
    run("git", "tag", f"v{version}", cwd=folder)
    return folder


def commit(folder: Path) -> None:
    """Commit everything in a checkout."""
    run("git", "add", "-A", cwd=folder)
    run("git", *GIT_IDENTITY, "commit", "-q", "-m", "change", cwd=folder)


def find_release(folder: Path) -> Release:
    """Return the release in a folder."""
    return Release(
        folder=folder,
        wheel=find_only(folder, "extism_kernel-*.whl"),
        sdist=find_only(folder, "extism_kernel-*.tar.gz"),
    )


def find_only(folder: Path, pattern: str) -> Path:
    """Return the one path in a folder that a pattern matches."""
    (path,) = folder.glob(pattern)
    return path


def new_venv(folder: Path, python: str | Path = sys.executable) -> Path:
    """Make an empty virtual environment without pip, and return its Python: `pip_of` installs there."""
    run(python, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    return folder / "bin" / "python"


def pip_of(python: Path) -> list[str | Path]:
    """Return the command of pip for an environment: ours, run by its Python; its own takes 6 s to install."""
    return [sys.executable, "-m", "pip", "--python", python]


def fetch_into(python: Path, *packages: str, check: bool = True) -> Done:
    """Install packages of an index into an environment, with uv: in a tenth of pip's time."""
    return run(
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "-q",
        "--python",
        python,
        *packages,
        cwd=python.parent,
        check=check,
    )


def digest(path: Path) -> str:
    """Return a file's sha256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
