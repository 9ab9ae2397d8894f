from __future__ import annotations

import pytest

from build_tools.base.archive import Member, make_tar_gz, make_zip, parse_tar_gz, parse_zip
from build_tools.base.errors import InvalidArchiveError
from build_tools.release.wheelfile import (
    REQUIRED_IN_DIST_INFO,
    REQUIRED_IN_PACKAGE,
    check_wheel,
    normalise_sdist,
    normalise_wheel,
)

LINKS = "https://github.com/owner/name/blob/v1.0.0"
INFO = "extism_kernel-1.0.0.dist-info"
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = b"Metadata-Version: 2.4\nName: extism-kernel\nVersion: 1.0.0\n"


def sound_members() -> list[Member]:
    content = {"WHEEL": WHEEL, "METADATA": METADATA}
    members = [Member(name=f"extism_kernel_pkg/{name}", data=name.encode()) for name in REQUIRED_IN_PACKAGE]
    members += [Member(name=f"{INFO}/{name}", data=content.get(name, b"")) for name in REQUIRED_IN_DIST_INFO]
    return parse_zip(normalise_wheel(make_zip(members, epoch=0), "a.whl", epoch=0, links=LINKS), "a.whl")


def codes(members: list[Member]) -> set[str]:
    return {finding.code for finding in check_wheel(members, version="1.0.0")}


def test_order_of_members_does_not_change_the_wheel() -> None:
    members = sound_members()
    shuffled = members[::2] + members[1::2][::-1]
    first, second = (
        normalise_wheel(make_zip(each, epoch=9), "a.whl", epoch=0, links=LINKS)
        for each in (members, shuffled)
    )
    assert first == second


def test_order_of_members_does_not_change_the_sdist() -> None:
    members = sound_members()
    first = normalise_sdist(make_tar_gz(members, epoch=1), "a.tar.gz", epoch=0, links=LINKS)
    assert first == normalise_sdist(make_tar_gz(members[::-1], epoch=2), "a.tar.gz", epoch=0, links=LINKS)


def test_wheel_names_no_version_of_what_built_it() -> None:
    for version in (b"1.1.0", b"1.1.2"):
        text = b"Wheel-Version: 1.0\nGenerator: scikit-build-core " + version + b"\nTag: py3-none-any\n"
        members = [Member(name=f"{INFO}/WHEEL", data=text), Member(name=f"{INFO}/METADATA", data=METADATA)]
        data = normalise_wheel(make_zip(members, epoch=0), "a.whl", epoch=0, links=LINKS)
        (wheel,) = [member for member in parse_zip(data, "a.whl") if member.name.endswith("/WHEEL")]
        assert wheel.data == text.replace(b"scikit-build-core " + version, b"build_tools.release.backend")


def test_relative_links_of_the_description_become_absolute() -> None:
    metadata = METADATA + b"\n[a](CHANGELOG.md)\n"
    linked = METADATA + f"\n[a]({LINKS}/CHANGELOG.md)\n".encode()
    wheel = make_zip([Member(name=f"{INFO}/METADATA", data=metadata)], epoch=0)
    members = parse_zip(normalise_wheel(wheel, "a.whl", epoch=0, links=LINKS), "a.whl")
    assert members[0].data == linked
    sources = [
        Member(name=name, data=metadata) for name in ("a-1/PKG-INFO", "a-1/README.md", "a-1/x/PKG-INFO")
    ]
    sdist = normalise_sdist(make_tar_gz(sources, epoch=0), "a.tar.gz", epoch=0, links=LINKS)
    changed = {member.name for member in parse_tar_gz(sdist, "a.tar.gz") if member.data != metadata}
    assert changed == {"a-1/PKG-INFO"}


def test_metadata_comes_last_and_record_at_the_very_end() -> None:
    names = [member.name for member in sound_members()]
    assert names[-1] == f"{INFO}/RECORD"
    assert all(name.startswith(INFO) for name in names[-len(REQUIRED_IN_DIST_INFO) :])


def test_sound_wheel_has_no_findings() -> None:
    assert codes(sound_members()) == set()


@pytest.mark.parametrize("name", ["extism_kernel_pkg/py.typed", f"{INFO}/licenses/LICENSE"])
def test_missing_member_is_found(name: str) -> None:
    assert "wheel-member-missing" in codes([member for member in sound_members() if member.name != name])


@pytest.mark.parametrize(
    "name",
    ["build_tools/cli/main.py", "extism_kernel_pkg/__pycache__/x.py", "extism_kernel_pkg/x.so", "../x.py"],
)
def test_member_that_does_not_belong_is_found(name: str) -> None:
    assert "wheel-member-unexpected" in codes([*sound_members(), Member(name=name, data=b"")])


def test_content_that_record_does_not_describe_is_found() -> None:
    members = sound_members()
    members[0] = Member(name=members[0].name, data=b"other")
    assert codes(members) == {"wheel-record-differs"}


def test_platform_tag_is_found() -> None:
    members = [
        Member(name=member.name, data=member.data.replace(b"none-any", b"none-linux_x86_64"))
        for member in sound_members()
    ]
    assert "wheel-tag-unexpected" in codes(members)


def test_other_version_in_the_metadata_is_found() -> None:
    members = [
        Member(name=member.name, data=member.data.replace(b"Version: 1.0.0", b"Version: 1.0.1"))
        for member in sound_members()
    ]
    assert "version-differs" in codes(members)


def test_archive_without_metadata_is_no_wheel() -> None:
    with pytest.raises(InvalidArchiveError, match=r"0 \.dist-info folders"):
        normalise_wheel(make_zip([Member(name="a", data=b"")], epoch=0), "a.whl", epoch=0, links=LINKS)
