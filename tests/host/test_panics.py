"""What the authors of plug-ins in three languages see of a panic. Skipped where a compiler is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from extism_kernel_pkg.host import Plugin, PluginError, PluginTrapError

from . import registries

SOURCES = Path(__file__).parent / "panics"


def compile_with(argv: list[str], **environment: str) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"`{argv[0]}` is not on PATH")
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"`{' '.join(argv)}` failed: {done.stderr[-300:]}")


def fail(module: Path, data: bytes = b"") -> PluginError:
    manifest = {"wasm": [{"path": str(module)}], "timeout_ms": 60_000, "memory": {"max_pages": 1000}}
    with Plugin(manifest) as plugin, pytest.raises(PluginError) as caught:
        plugin.call("explode", data)
    return caught.value


def test_rust_panic_shows_its_text_functions_and_lines(tmp_path: Path) -> None:
    source, module = SOURCES / "explode.rs", tmp_path / "explode.wasm"
    compile_with(
        [
            "rustc",
            "--edition=2024",
            "--target=wasm32-unknown-unknown",
            "--crate-type=cdylib",
            "-g",
            "-Copt-level=1",
            f"--remap-path-prefix={SOURCES}=src",
            str(source),
            "-o",
            str(module),
        ]
    )
    error = fail(module)
    assert isinstance(error, PluginTrapError)
    assert any("panicked at src/explode.rs:6:9" in line for line in error.stderr)
    assert "cannot divide 7 by zero" in error.stderr
    own = [frame for frame in error.frames if (frame.file or "").endswith("src/explode.rs")]
    assert [frame.function.rpartition("::")[2] for frame in own] == ["divide", "explode"]
    assert own[0].line == 6
    shown = error.render()
    assert "\n  cannot divide 7 by zero\n" in shown
    assert any("divide at " in line and line.endswith("src/explode.rs:6") for line in shown.splitlines())


def test_go_panic_shows_its_text_and_functions(tmp_path: Path) -> None:
    folder = tmp_path / "go"
    shutil.copytree(SOURCES / "go", folder)
    module = folder / "explode.wasm"
    compile_with(
        ["go", "build", "-C", str(folder), "-buildmode=c-shared", f"-o={module}", "."],
        GOOS="wasip1",
        GOARCH="wasm",
    )
    error = fail(module)
    assert error.stderr[0] == "panic: runtime error: index out of range [3] with length 0"
    assert any(line.strip().startswith("/") and "main.go:10" in line for line in error.stderr)
    assert error.stdout == ("about to read",)
    assert "main.explode" in [frame.function for frame in error.frames]
    assert "main.explode" in error.render()


def test_assemblyscript_assertion_shows_its_functions() -> None:
    error = fail(registries.assemblyscript_plugin(SOURCES / "explode.ts", debug=True), b"abc")
    assert isinstance(error, PluginTrapError)
    assert error.frames[0].function.endswith("explode/check")
    assert error.frames[1].function.endswith("explode/explode")
    assert error.kernel is not None
    assert error.kernel.bytes >= 3
    assert "explode/check" in error.render()
