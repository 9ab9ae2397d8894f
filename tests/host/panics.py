"""Plug-ins in three languages that panic, and what their caller gets. Skips where a compiler is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from extism_kernel_pkg.host import Plugin, PluginError

from . import registries

SOURCES: Final = Path(__file__).parent / "panics"


def compile_with(argv: list[str], **environment: str) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"`{argv[0]}` is not on PATH")
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"`{' '.join(argv)}` failed: {done.stderr[-300:]}")


def fail(module: Path, data: bytes = b"") -> PluginError:
    """Call the plug-in and return what its caller gets."""
    manifest = {"wasm": [{"path": str(module)}], "timeout_ms": 60_000, "memory": {"max_pages": 1000}}
    with Plugin(manifest) as plugin, pytest.raises(PluginError) as caught:
        plugin.call("explode", data)
    return caught.value


def rust(folder: Path) -> PluginError:
    """A division by zero, of which the program says it itself."""
    source, module = SOURCES / "explode.rs", folder / "explode.wasm"
    options = ["--edition=2024", "--crate-type=cdylib", "-g", "-Copt-level=1"]
    paths = [f"--remap-path-prefix={old}={new}" for old, new in ((Path.cwd(), "app"), (SOURCES, "src"))]
    compile_with(
        ["rustc", "--target=wasm32-unknown-unknown", *options, *paths, str(source), "-o", str(module)]
    )
    return fail(module)


def go(folder: Path) -> PluginError:
    """An index out of range, noticed by the runtime of the language."""
    module = folder / "explode.wasm"
    command = ["go", "build", "-C", str(SOURCES / "go"), "-trimpath", "-buildmode=c-shared", f"-o={module}"]
    compile_with([*command, "."], GOOS="wasip1", GOARCH="wasm")
    return fail(module)


def assemblyscript(_folder: Path) -> PluginError:
    """A failed assertion of the program."""
    return fail(registries.assemblyscript_plugin(SOURCES / "explode.ts", debug=True), b"abc")


LANGUAGES: Final = {"Rust": rust, "Go": go, "AssemblyScript": assemblyscript}
