"""What README.md shows is run as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.kernel.values import StagedKernel

README = ROOT / "README.md"
EXAMPLE = re.compile(r"<!-- [^>]*tests/integration/test_readme.py -->\n```python\n(.*?)```", re.DOTALL)


def test_readme_example_passes_a_message_in_and_out(built: StagedKernel, tmp_path: Path) -> None:
    (example,) = EXAMPLE.findall(README.read_text(encoding="utf-8"))
    package = tmp_path / "extism_kernel_pkg"
    package.mkdir()
    for path in (*(ROOT / "extism_kernel_pkg").glob("*.py"), *built.folder.iterdir()):
        shutil.copy(path, package)
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("hello, guest\n", "")


def test_readme_names_the_commands_that_there_are() -> None:
    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"python -m build_tools ([a-z]+)", text))
    help_text = subprocess.run(
        [sys.executable, "-m", "build_tools", "--no-bootstrap", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {name for name in commands if not re.search(rf"^ +{name}\b", help_text, re.MULTILINE)} == set()
