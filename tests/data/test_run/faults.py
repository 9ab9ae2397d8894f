"""One test for each way in which a test can harm the run, between tests that must not be harmed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PIDS = Path(__file__).with_name("pids")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# Its parent ends at once, it leads a session of its own, and its output goes nowhere (-3 is DEVNULL).
DAEMON = f"""
import subprocess
print(subprocess.Popen({SLEEP}, start_new_session=True, stdout=-3, stderr=-3).pid)
"""


def note(pid: int) -> None:
    with PIDS.open("a", encoding="utf-8") as file:
        file.write(f"{pid}\n")


def test_passes_first() -> None:
    pass


def test_sleeps_for_ever() -> None:
    while True:
        time.sleep(60)


def test_is_stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def test_kills_its_interpreter() -> None:
    note(subprocess.Popen(SLEEP, start_new_session=True).pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_exits() -> None:
    os._exit(0)


def test_leaves_a_child() -> None:
    note(subprocess.Popen(SLEEP).pid)


def test_leaves_a_daemon() -> None:
    said = subprocess.run([sys.executable, "-c", DAEMON], check=True, capture_output=True, text=True)
    note(int(said.stdout))


def test_fails() -> None:
    raise AssertionError


def test_skips() -> None:
    pytest.skip("no `spoon`; install it with `apt-get install spoon`")


@pytest.mark.xfail(strict=True, reason="known")
def test_fails_as_expected() -> None:
    raise AssertionError


@pytest.mark.parametrize("number", range(20))
def test_passes(number: int) -> None:
    assert number < 20
