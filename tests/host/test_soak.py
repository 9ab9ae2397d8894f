"""`campaign host-soak` in small: nothing grows, and a leak is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import soak
from .test_interrupt import run

needs_statm = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.slow
@needs_statm
def test_memory_and_threads_stay_flat() -> None:
    counts = [
        "--calls=20000",
        "--plugins=1000",
        "--cancels=150",
        "--limits=150",
        "--uses=1000",
        "--awaited=300",
    ]
    run(
        """
        import contextlib, io
        from tests.host import soak
        with contextlib.redirect_stdout(io.StringIO()) as table:
            code = soak.main(sys.argv[1:])
        if code:
            print(table.getvalue())
        """,
        *counts,
    )


@needs_statm
def test_growth_is_found() -> None:
    kept: list[bytes] = []
    course = soak.observe("leak", 100, lambda count: kept.extend(b"x" * 2**20 for _ in range(count)))
    assert course.growth >= 16 * 2**20
    assert not course.is_flat
    assert soak.observe("none", 20, lambda _: None).is_flat
