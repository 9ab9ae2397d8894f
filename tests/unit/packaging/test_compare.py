from __future__ import annotations

import pytest

from build_tools.base.archive import Member, make_tar_gz, make_zip
from build_tools.release.difference import compare_artifacts

HEADER = b"\0asm\1\0\0\0"
CODE = b"\x0a\x04\x01\x02\x00\x0b"
OTHER_CODE = b"\x0a\x04\x01\x02\x01\x0b"
CUSTOM = b"\0\x05\x04name"


def wheel(*members: Member, epoch: int = 0) -> bytes:
    return make_zip(members, epoch=epoch)


ONE = Member(name="one.py", data=b"x = 1\n")
TWO = Member(name="two.py", data=b"x = 2\n")

DIFFERENCES = {
    "member-missing": ("a.whl", wheel(ONE, TWO), wheel(ONE), "`two.py` is only in the first build's `a.whl`"),
    "member-extra": ("a.whl", wheel(ONE), wheel(ONE, TWO), "`two.py` is only in the second build's `a.whl`"),
    "member-before-what-lists-it": (
        "a.whl",
        wheel(
            ONE, Member(name="a.dist-info/sboms/a.cdx.json", data=b"1"), Member(name="a/RECORD", data=b"1")
        ),
        wheel(
            TWO, Member(name="a.dist-info/sboms/a.cdx.json", data=b"2"), Member(name="a/RECORD", data=b"2")
        ),
        "`one.py` is only in the first build's `a.whl`",
    ),
    "bytes": (
        "a.whl",
        wheel(ONE),
        wheel(Member(name="one.py", data=b"x = 9\n")),
        "in `a.whl`: `one.py` from offset 0x4",
    ),
    "length": (
        "a.tar.gz",
        make_tar_gz([ONE], epoch=0),
        make_tar_gz([Member(name="one.py", data=b"x = 1\n\n")], epoch=0),
        "in `a.tar.gz`: `one.py` from offset 0x6; sizes 6 and 7 bytes",
    ),
    "mode": (
        "a.whl",
        wheel(ONE),
        wheel(Member(name="one.py", data=b"x = 1\n", executable=True)),
        "in `a.whl`: `one.py` has mode 644 and 755",
    ),
    "order": (
        "a.whl",
        wheel(ONE, TWO),
        wheel(TWO, ONE),
        "the members of `a.whl` are equal, their order is not",
    ),
    "times": ("a.whl", wheel(ONE), wheel(ONE, epoch=2**30), "the archive's own fields"),
    "section-content": (
        "k.wasm",
        HEADER + CODE,
        HEADER + OTHER_CODE,
        "`k.wasm`: section `code` (content at 0xa), offset 0x2",
    ),
    "section-missing": (
        "k.wasm",
        HEADER + CODE + CUSTOM,
        HEADER + CODE,
        "section `name` is only in one build",
    ),
    "section-order": (
        "k.wasm",
        HEADER + CODE + CUSTOM,
        HEADER + CUSTOM + CODE,
        "section `code` stands where the other build has `name`",
    ),
    "module-inside-wheel": (
        "a.whl",
        wheel(Member(name="k.wasm", data=HEADER + CODE)),
        wheel(Member(name="k.wasm", data=HEADER + OTHER_CODE)),
        "in `a.whl`: `k.wasm`: section `code`",
    ),
    "module-broken": ("k.wasm", HEADER + b"\x01\x09", HEADER + b"\x01\x08", "`k.wasm` from offset 0x9"),
}


@pytest.mark.parametrize(("name", "first", "second", "words"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_first_difference_is_named(name: str, first: bytes, second: bytes, words: str) -> None:
    assert words in (compare_artifacts(name, first, second).difference or "")


def test_equal_artifacts_have_no_difference() -> None:
    comparison = compare_artifacts("a.whl", wheel(ONE), wheel(ONE))
    assert comparison.difference is None
    assert comparison.first == comparison.second
