"""What the authors of plug-ins in three languages see of a panic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_pkg.host import PluginTrapError

from . import panics

if TYPE_CHECKING:
    from pathlib import Path


def test_rust_panic_shows_its_text_functions_and_lines(tmp_path: Path) -> None:
    error = panics.rust(tmp_path)
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
    error = panics.go(tmp_path)
    assert error.stderr[0] == "panic: runtime error: index out of range [3] with length 0"
    assert any("main.go:10" in line for line in error.stderr)
    assert error.stdout == ("about to read",)
    assert "main.explode" in [frame.function for frame in error.frames]
    assert "main.explode" in error.render()


def test_assemblyscript_assertion_shows_its_functions(tmp_path: Path) -> None:
    error = panics.assemblyscript(tmp_path)
    assert isinstance(error, PluginTrapError)
    assert error.frames[0].function.endswith("explode/check")
    assert error.frames[1].function.endswith("explode/explode")
    assert error.kernel is not None
    assert error.kernel.bytes >= 3
    assert "explode/check" in error.render()
