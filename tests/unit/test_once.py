"""What tests share is made once, also by workers that ask at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.once import make_once

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.once import make_once
base = Path(sys.argv[1])
def make(folder):
    with (base / "made").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    (folder / "content").write_text("whole")
factory = SimpleNamespace(getbasetemp=lambda: base / sys.argv[2])
print((make_once(factory, "thing", make) / "content").read_text())
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.TempPathFactory:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return cast("pytest.TempPathFactory", SimpleNamespace(getbasetemp=lambda: tmp_path))


def test_workers_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    argv = [sys.executable, "-c", WORKER, str(tmp_path)]
    children = [
        subprocess.Popen([*argv, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in ("a", "b")
    ]
    assert [child.communicate()[0] for child in children] == ["whole\n"] * 2
    assert (tmp_path / "made").read_text() == "x"


def write(text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "content").write_text(text)

    return make


def test_second_call_makes_nothing(factory: pytest.TempPathFactory) -> None:
    make_once(factory, "thing", write("first"))
    assert (make_once(factory, "thing", write("second")) / "content").read_text() == "first"


def test_failure_leaves_nothing_and_is_tried_again(factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write("half")(folder)
        pytest.skip("no tool")

    with pytest.raises(pytest.skip.Exception, match="no tool"):
        make_once(factory, "thing", fail)
    assert not (tmp_path / "once" / "thing").exists()
    assert (make_once(factory, "thing", write("whole")) / "content").read_text() == "whole"


def test_what_a_dead_worker_left_is_made_again(factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    (tmp_path / "once" / "thing").mkdir(parents=True)
    (tmp_path / "once" / "thing" / "half").touch()
    folder = make_once(factory, "thing", write("whole"))
    assert [path.name for path in folder.iterdir()] == ["content"]
