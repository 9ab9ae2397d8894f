"""What adapters lack, fetched into the user's cache without root: from PyPI, and Debian's packages as files.

A requirement says with `fetch` what brings it. What was fetched once is used by every later run, and nothing
outside the cache is touched.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.file_lock import file_lock
from extism_kernel_conformance.base.errors import AdapterBuildError
from extism_kernel_conformance.base.resources import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SECONDS = 900
_DONE = "done"


def folder_of(kind: str, packages: Sequence[str]) -> Path:
    """Return where packages lie once they are fetched."""
    facts = f"{kind} {sorted(packages)} {sys.version_info[:2]} {platform.platform()}"
    return cache_folder() / f"installed-{kind}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def is_installed(kind: str, packages: Sequence[str]) -> bool:
    """Return whether packages were fetched whole."""
    return (folder_of(kind, packages) / _DONE).is_file()


def install(kind: str, packages: Sequence[str]) -> str:
    """Fetch packages and return what was fetched, in words. Raises AdapterBuildError if a tool fails."""
    folder = folder_of(kind, packages)
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / "lock"):
        if not (folder / _DONE).is_file():
            _INSTALL[kind](folder, packages)
            (folder / _DONE).touch()
    return f"fetched {' '.join(packages)} ({kind}) into {folder}"


def python_of(packages: Sequence[str]) -> str:
    """Return the Python of the environment with these packages."""
    scripts = "Scripts" if os.name == "nt" else "bin"
    return str(folder_of("pip", packages) / "env" / scripts / "python")


def variables_of(packages: Sequence[str]) -> Mapping[str, str]:
    """Return the variables by which compilers, loaders and shells find what Debian's packages brought."""
    usr = folder_of("deb", packages) / "root" / "usr"
    libraries = [str(path) for path in sorted((usr / "lib").glob("*-linux-*"))] + [str(usr / "lib")]
    places = {
        "PATH": [str(usr / "bin")],
        "CPATH": [str(usr / "include")],
        "LIBRARY_PATH": libraries,
        "LD_LIBRARY_PATH": libraries,
    }
    return {
        name: os.pathsep.join([*paths, *filter(None, [os.environ.get(name)])])
        for name, paths in places.items()
    }


def _install_pip(folder: Path, packages: Sequence[str]) -> None:
    _run([sys.executable, "-m", "venv", "--clear", str(folder / "env")], folder)
    _run([python_of(packages), "-m", "pip", "install", "--quiet", *packages], folder)


def _install_deb(folder: Path, packages: Sequence[str]) -> None:
    shutil.rmtree(folder / "root", ignore_errors=True)
    _run(["apt-get", "-q", "download", *packages], folder)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(folder / "root")], folder)
        package.unlink()


_INSTALL = {"pip": _install_pip, "deb": _install_deb}


def _run(argv: Sequence[str], folder: Path) -> None:
    print(f"+ {shlex.join(argv)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        failed, output = done.returncode != 0, done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, output = True, str(error)
    if failed:
        tail = "\n".join(output.splitlines()[-15:])
        raise AdapterBuildError(f"`{shlex.join(argv)}` failed:\n{tail}", where=str(folder))
