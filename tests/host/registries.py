"""Brings real SDKs and plug-ins from package registries into a cache, with each registry's ordinary client.

Nothing of this is part of the project. A client that is missing, or a registry that cannot be
reached, is a skip with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build_tools.base.cache import find_cache

PYTHON_SDK = ("extism==1.1.1", "extism-sys==1.41.0")
AS_PDK = ("@extism/as-pdk@1.0.0", "assemblyscript@0.27.37")
LIMIT_SECONDS = 200.0
GO_SDK = "github.com/extism/go-sdk@v1.7.1"


def cache_folder(name: str) -> Path:
    """A folder that outlives the test run."""
    return find_cache() / "tests" / name


def run(argv: list[str], *, cwd: Path | None = None) -> str:
    program = shutil.which(argv[0])
    if program is None:
        pytest.skip(
            f"`{argv[0]}` is not on PATH; to compare with real SDKs and plug-ins, run `apt-get install "
            f"{'golang' if argv[0] == 'go' else argv[0]}`"
        )
    try:
        done = subprocess.run(
            [program, *argv[1:]], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"`{' '.join(argv)}` took longer than {LIMIT_SECONDS:.0f} s")
    if done.returncode != 0:
        pytest.skip(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def python_sdk() -> Path:
    """The folder to put on PYTHONPATH for `import extism`."""
    folder = cache_folder("python-sdk-" + "-".join(PYTHON_SDK).replace("==", "-"))
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part), *PYTHON_SDK])
        _publish(part, folder)
    return folder


def go_sdk_plugins() -> Path:
    """The folder of plug-ins inside the Go SDK's module."""
    module = json.loads(run(["go", "mod", "download", "-json", GO_SDK], cwd=Path("/")))
    return Path(module["Dir"]) / "wasm"


def assemblyscript_plugin(source: Path, *, debug: bool = False) -> Path:
    """Compile one AssemblyScript source, which exports `myAbort`, with the PDK and the compiler from npm."""
    folder = cache_folder("as-pdk-1.0.0-assemblyscript-0.27.37")
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        (part / "package.json").write_text('{"private": true}', encoding="utf-8")
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", *AS_PDK], cwd=part)
        _publish(part, folder)
    shutil.copy(source, folder / source.name)
    name = source.stem
    argv = ["npx", "--no-install", "asc", source.name, "--outFile", f"{name}.wasm"]
    run([*argv, "--use", f"abort={name}/myAbort", *(["--debug"] if debug else [])], cwd=folder)
    return folder / f"{name}.wasm"


def _publish(part: Path, folder: Path) -> None:
    """Give a finished folder its name; another process may have been faster."""
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)
