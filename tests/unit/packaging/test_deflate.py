"""Our deflate: any reader unpacks it, it is nearly as small as zlib's, and its bytes are for ever."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_tools.base.deflate import CODE_BITS_MAX, code_lengths, deflate, gzip_deterministic
from build_tools.base.files import sha256_of
from build_tools.base.project import find_project

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"".join(b"%d times %d is %d.\n" % (at, at, at * at) for at in range(3000))
SAMPLES = {
    "empty": b"",
    "one-byte": b"x",
    "one-symbol": b"a" * 100_000,
    "all-bytes": bytes(range(256)) * 300,
    "text": TEXT,
    "match-at-the-window's-edge": b"needle" + bytes(range(7)) * 4680 + b"..needle",
}


def inflate(data: bytes) -> bytes:
    return zlib.decompress(data, wbits=-15)


@given(st.binary(max_size=2000))
def test_any_bytes_come_back(data: bytes) -> None:
    assert inflate(deflate(data)) == data


@given(st.lists(st.sampled_from([b"a", b"ab", b"abcabc", b"\0" * 300]), max_size=300))
def test_repetitions_come_back(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert inflate(deflate(data)) == data


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_comes_back(name: str) -> None:
    assert inflate(deflate(SAMPLES[name])) == SAMPLES[name]
    assert gzip.decompress(gzip_deterministic(SAMPLES[name], epoch=0)) == SAMPLES[name]


def test_sources_are_packed_nearly_as_small_as_by_zlib() -> None:
    data = (find_project().tools / "base" / "archive.py").read_bytes()
    assert len(deflate(data)) < 1.1 * len(zlib.compress(data, 9))


def test_packed_bytes_never_change() -> None:
    """A digest that differs here makes every archive differ from those released before."""
    assert sha256_of(deflate(TEXT)) == "a17d7afd055e007c8bc5252ed65316d8b5436342809aeb64b22208e5a401a114"


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=286))
def test_code_lengths_fill_the_tree_within_the_limit(counts: list[int]) -> None:
    lengths = code_lengths(counts, CODE_BITS_MAX)
    assert [bool(length) for length in lengths] == [bool(count) for count in counts]
    assert max(lengths) <= CODE_BITS_MAX
    if sum(map(bool, counts)) > 1:
        assert sum(2**-length for length in lengths if length) == 1


def test_code_lengths_stay_within_the_limit_where_counts_grow_steeply() -> None:
    lengths = code_lengths([3**at for at in range(40)], CODE_BITS_MAX)
    assert max(lengths) == CODE_BITS_MAX


TWICE = """
import sys
from build_tools.base.deflate import deflate
from build_tools.base.files import sha256_of
data = sys.stdin.buffer.read()
print(sha256_of(deflate(data)), sha256_of(deflate(data)))
"""


def test_what_tests_packed_once_is_the_same_and_is_packed_no_more(tmp_path: Path) -> None:
    """tests/packed is put before the packer by the tests of packaging alone."""
    root = find_project().root
    variables = {"PYTHONPATH": f"{root / 'tests' / 'packed'}{os.pathsep}{root}"}
    env = os.environ | variables | {"EXTISM_KERNEL_TEST_PACKED": str(tmp_path)}

    def pack() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", TWICE], input=TEXT, env=env, capture_output=True, check=True
        )
        return done.stdout.decode().split()

    assert pack() == [sha256_of(deflate(TEXT))] * 2
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"what was kept")
    assert pack() == [sha256_of(b"what was kept")] * 2
