"""The code in the README's section about hosts runs, and prints what a reader expects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import wasmtime

from .conftest import wat_path

README = Path(__file__).parents[2] / "extism_kernel_pkg" / "host" / "README.md"
HEADING = "## Write a host"

PRINTED = {
    "manifest": ["b'Hello, Hello, world!'"],
    "functions": ["b'QUIET'"],
    "own": ["b'Hello, you'"],
}


def section() -> str:
    """The README's section about hosts."""
    text = README.read_text(encoding="utf-8")
    assert HEADING in text
    return HEADING + text.partition(HEADING)[2].partition("\n## ")[0]


@pytest.mark.parametrize("index", range(3), ids=list(PRINTED))
def test_readme_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: int
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", section(), re.DOTALL)
    assert len(blocks) == len(PRINTED)
    for file, source, name in (
        ("hello", "hello", "greet"),
        ("count_vowels", "hello", "count_vowels"),
        ("shout", "shout", "shout"),
    ):
        text = wat_path(source).read_text(encoding="utf-8").replace('"greet"', f'"{name}"')
        (tmp_path / f"{file}.wasm").write_bytes(wasmtime.wat2wasm(text))
    monkeypatch.chdir(tmp_path)
    exec(compile("from pathlib import Path\n" + blocks[index], f"README block {index}", "exec"), {})  # noqa: S102 - our own README
    assert capsys.readouterr().out.splitlines() == list(PRINTED.values())[index]
