from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_tools.base.archive import (
    DEFAULT_EPOCH,
    Member,
    make_tar_gz,
    make_zip,
    parse_tar_gz,
    parse_zip,
    read_epoch,
)
from build_tools.base.errors import InvalidArchiveError, InvalidEpochError

MEMBERS = [
    Member(name="a/one.txt", data=b"one"),
    Member(name="a/two", data=b"", executable=True),
    Member(name="z.bin", data=bytes(range(256)) * 600),
]


def test_zip_gives_its_members_back() -> None:
    assert parse_zip(make_zip(MEMBERS, epoch=0), "x.zip") == MEMBERS


def test_tar_gives_its_members_back() -> None:
    assert parse_tar_gz(make_tar_gz(MEMBERS, epoch=0), "x.tgz") == MEMBERS


@given(st.binary(max_size=20_000))
def test_packed_gzip_is_read_by_any_reader(data: bytes) -> None:
    packed = make_tar_gz([Member(name="data", data=data)], epoch=7)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        file = archive.extractfile("data")
        assert file is not None
        assert file.read() == data


def test_archives_hold_no_time_owner_or_mode_of_the_machine() -> None:
    with zipfile.ZipFile(io.BytesIO(make_zip(MEMBERS, epoch=DEFAULT_EPOCH))) as archive:
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(2022, 11, 9, 12, 37, 20)}
    assert [info.external_attr >> 16 for info in infos] == [0o100644, 0o100755, 0o100644]
    assert {info.create_system for info in infos} == {3}
    with tarfile.open(fileobj=io.BytesIO(make_tar_gz(MEMBERS, epoch=5))) as tar:
        owners = {(info.mtime, info.uid, info.gid, info.uname, info.gname) for info in tar}
    assert owners == {(5, 0, 0, "", "")}


@pytest.mark.parametrize(("epoch", "year"), [(0, 1980), (2**40, 2107)], ids=["too-early", "too-late"])
def test_zip_clamps_times_it_cannot_hold(epoch: int, year: int) -> None:
    with zipfile.ZipFile(io.BytesIO(make_zip(MEMBERS[:1], epoch=epoch))) as archive:
        assert archive.infolist()[0].date_time[0] == year


FAULTS = {
    "empty": b"",
    "text": b"not an archive",
    "zip-cut-short": make_zip(MEMBERS, epoch=0)[:-40],
    "gzip-cut-short": make_tar_gz(MEMBERS, epoch=0)[:-40],
    "zip-altered": make_zip(MEMBERS, epoch=0).replace(b"one", b"two", 1).replace(b"onetxt", b"x", 1),
    "gzip-altered": bytes(byte ^ (at == 300) for at, byte in enumerate(make_tar_gz(MEMBERS, epoch=0))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_archive_is_refused_by_name(fault: str) -> None:
    parse = parse_zip if fault.startswith("zip") else parse_tar_gz
    with pytest.raises(InvalidArchiveError) as caught:
        parse(FAULTS[fault], "some.file")
    assert caught.value.where == "some.file"


def test_member_that_would_fill_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_tools.base.archive.MEMBER_SIZE_MAX", 1000)
    with pytest.raises(InvalidArchiveError, match=r"`z\.bin` unpacks to 153600 bytes"):
        parse_zip(make_zip(MEMBERS, epoch=0), "bomb.zip")
    with pytest.raises(InvalidArchiveError, match=r"`z\.bin` unpacks to 153600 bytes"):
        parse_tar_gz(make_tar_gz(MEMBERS, epoch=0), "bomb.tgz")


def test_epoch_is_fixed_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert read_epoch() == DEFAULT_EPOCH
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12")
    assert read_epoch() == 12


@pytest.mark.parametrize("text", ["", " 1", "1 ", "-1", "1.0", "1_000", "now", "٣"])
def test_malformed_epoch_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(InvalidEpochError, match="decimal number of seconds"):
        read_epoch()
