from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from build_tools.base.errors import DiskFullError, ToolFailedError, ToolNotFoundError, ToolTimeoutError
from build_tools.base.process import run, run_through
from tests.processes import is_alive

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_run_returns_stdout_only(tmp_path: Path) -> None:
    assert run(["sh", "-c", "echo out; echo err >&2"], cwd=tmp_path) == "out\n"


def test_run_adds_to_the_environment(tmp_path: Path) -> None:
    assert run(["sh", "-c", 'echo "$COLOUR $HOME"'], cwd=tmp_path, env={"COLOUR": "red"}).startswith("red ")


def test_failure_keeps_the_evidence(tmp_path: Path) -> None:
    with pytest.raises(ToolFailedError) as caught:
        run(["sh", "-c", "echo why >&2; exit 3"], cwd=tmp_path, hint="try again")
    assert caught.value.render() == (
        "error[tool-failed]: a tool ended with code 3\n  | why\n"
        "  at: sh -c 'echo why >&2; exit 3'\nhint: try again"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_named_whichever_tool_says_so(number: int, tmp_path: Path) -> None:
    said = f"ld: cannot write: {os.strerror(number)}"
    with pytest.raises(DiskFullError, match=f"the disk is full; {said}") as caught:
        run(["sh", "-c", f"echo noise >&2; echo '{said}' >&2; echo more >&2; exit 1"], cwd=tmp_path)
    assert str(caught.value.where).startswith("sh -c")
    assert "TMPDIR, XDG_CACHE_HOME (1 GB) or `--out`" in str(caught.value.hint)


def test_tool_that_ends_well_may_speak_of_a_full_disk(tmp_path: Path) -> None:
    said = os.strerror(errno.ENOSPC)
    assert run(["sh", "-c", f"echo '{said}'"], cwd=tmp_path) == f"{said}\n"


def test_signal_is_told_apart_from_a_code(tmp_path: Path) -> None:
    with pytest.raises(ToolFailedError, match="was ended by signal 9"):
        run(["sh", "-c", "kill -9 $$"], cwd=tmp_path)


def test_absent_program_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolNotFoundError, match="`no-such-tool` is not on PATH") as caught:
        run(["no-such-tool"], cwd=tmp_path, install="apt-get install it")
    assert caught.value.hint == "install it with `apt-get install it`"


def test_file_that_may_not_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("", encoding="utf-8")
    with pytest.raises(ToolFailedError, match="may not be executed"):
        run([tmp_path / "tool"], cwd=tmp_path)


def test_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(ToolFailedError, match=r"(?i)exec format"):
        run([path], cwd=tmp_path)


def test_timeout_ends_the_tool_and_its_children(tmp_path: Path) -> None:
    script = f"sh -c 'echo $$ > {tmp_path}/pid; sleep 60' & wait"
    started = time.monotonic()
    with pytest.raises(ToolTimeoutError, match="longer than 1 s"):
        run(["sh", "-c", script], cwd=tmp_path, timeout=1)
    assert time.monotonic() - started < 20
    assert not is_alive(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_interrupt_ends_the_children(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 60"

    def watch() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(encoding="utf-8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", script], cwd=tmp_path, watch=watch)
    assert not is_alive(int((tmp_path / "pid").read_text(encoding="utf-8")))


TIDY = """
import sys, time
from pathlib import Path
from build_tools.base.process import run_through

CHILD = "import sys, time; open(sys.argv[1] + '/started', 'w').close()\\ntry: time.sleep(60)\\n"
CHILD += "except KeyboardInterrupt: open(sys.argv[1] + '/tidied', 'w').close()"
run_through([sys.executable, "-c", CHILD, sys.argv[1]], cwd=Path(sys.argv[1]))
"""


def test_interrupt_lets_a_tool_tidy_up(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", TIDY, str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        # Whoever started the tests in the background may have had Ctrl-C ignored in all that follow.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    child.wait(30)
    assert (tmp_path / "tidied").exists()


def test_interrupt_while_a_tool_is_started_leaves_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []

    class Popen(subprocess.Popen[str]):
        """Interrupted where its own child already runs, and before anybody else knows of it."""

        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as they come
            super().__init__(*args, **options)
            pids.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([sys.executable, "-c", "import time; time.sleep(100)"], cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [is_alive(pid) for pid in pids] == [False]


def test_output_that_is_not_utf8_is_no_crash(tmp_path: Path) -> None:
    assert run(["printf", r"\377"], cwd=tmp_path) == "\ufffd"


def test_run_through_returns_the_code(tmp_path: Path) -> None:
    assert run_through([sys.executable, "-c", "raise SystemExit(7)"], cwd=tmp_path) == 7
