"""The clients and checkers of other ecosystems: found on PATH, or brought by their registry's own client.

What is brought lies in the cache, outside the project, and is used again. A program that is missing, or a
registry that cannot be reached, is a skip that names the command.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from build_tools.base.cache import find_cache
from build_tools.base.files import sha256_of
from tests.integration.packaging.support import run

if TYPE_CHECKING:
    from pathlib import Path

NPM_TOOLS = {
    "@arethetypeswrong/cli": "0.18.5",
    "bun": "1.4.5",
    "deno": "2.9.6",
    "esbuild": "0.28.2",
    "publint": "0.3.25",
    "typescript": "7.0.2",
    "vite": "8.4.0",
    "webpack": "5.113.0",
    "webpack-cli": "7.3.1",
}


def need(program: str, install: str) -> str:
    """Return where a program is, or skip with the command that installs it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"`{program}` is not on PATH; install it with `{install}`")
    return found


def need_cargo() -> str:
    """Return a cargo that runs: rustup's is on PATH also where it has no toolchain."""
    cargo = need("cargo", "rustup toolchain install stable")
    if run(cargo, "--version", cwd=find_cache().parent, check=False).returncode != 0:
        pytest.skip("`cargo` has no toolchain; install one with `rustup default stable`")
    return cargo


def npm_tools() -> Path:
    """Return the folder of the programs that npm brought."""
    npm = need("npm", "apt-get install npm")
    # Scripts of these fetch the program for this system; npm runs none that is not named.
    scripts = {f"{name}@{NPM_TOOLS[name]}": True for name in ("bun", "deno", "esbuild")}
    manifest = json.dumps({"private": True, "dependencies": NPM_TOOLS, "allowScripts": scripts}, indent=1)
    folder = find_cache() / "tests" / f"npm-tools-{sha256_of(manifest.encode())[:12]}"
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        (part / "package.json").write_text(manifest)
        _keep(part, folder, [npm, "install", "--no-audit", "--no-fund"])
    return folder / "node_modules" / ".bin"


def python_tools(*requirements: str) -> Path:
    """Return the Python of an environment that holds some packages, apart from the one of the tests."""
    folder = (
        find_cache() / "tests" / f"python-{sha256_of(' '.join([sys.version, *requirements]).encode())[:12]}"
    )
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.parent.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "venv", "--without-pip", part, cwd=part.parent)
        python = part / "bin" / "python"
        _keep(
            part,
            folder,
            [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *requirements],
        )
    return folder / "bin" / "python"


def _keep(part: Path, folder: Path, command: list[str]) -> None:
    """Run the client that fills `part`, and give it its name only when that is whole."""
    done = run(*command, cwd=part, check=False)
    if done.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        pytest.skip(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout)[-300:]}")
    if folder.is_dir():
        shutil.rmtree(part, ignore_errors=True)  # another run was faster
    else:
        part.rename(folder)
