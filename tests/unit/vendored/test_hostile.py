"""No input makes `verify` fail, use much memory or go on for long; what it leaves out is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.vendored import budget
from tests.unit.vendored.support import answers, bare, check, kernel
from tests.unit.vendored.test_forms import BINARIES, TEXTS, ar, tarred, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = kernel()
ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20
# The part of the CPU time that `verify` allows a file, which most of these inputs use up: bounded is bounded.
PART = 1 / 8
# What collects something as it goes is let go on for all of the time, too.
COLLECTING = ("headers-of-modules",)
# Runs `verify` with its memory counted by the system; prints the answer and the peak in KiB.
MEASURED = """
import json, resource, sys
from pathlib import Path
from extism_kernel_pkg.vendored import budget, read_known, to_data, verify
for name in ("SECONDS", "SECONDS_PER_FILE", "SECONDS_PER_BYTE"):
    setattr(budget, name, getattr(budget, name) * float(sys.argv[2]))
data = to_data(verify([Path(sys.argv[1])], read_known()))
usage = resource.getrusage(resource.RUSAGE_SELF)
# Not `ru_maxrss`: it counts what the process was a copy of before it became this program.
lines = Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else []
peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), usage.ru_maxrss)
print(json.dumps({"data": data, "peak": peak, "seconds": usage.ru_utime + usage.ru_stime}))
"""


def nested_gzip(levels: int, size: int) -> bytes:
    data = bytes(size)
    for _ in range(levels):
        data = gzip.compress(data, 9)
    return data


def overlapping_zip() -> bytes:
    """A zip of which every entry is the same large member."""
    plain = zipped("zeros", bytes(30 * MIB))
    at = plain.rindex(b"PK\1\2")
    end = plain.rindex(b"PK\5\6")
    entry = plain[at:end]
    tail = bytearray(plain[end:])
    tail[12:20] = (len(entry) * 5000).to_bytes(4, "little") + at.to_bytes(4, "little")
    return plain[:at] + entry * 5000 + bytes(tail)


def zip_with_large_dictionary() -> bytes:
    """A zip whose LZMA member asks for 4 GiB of memory."""
    plain = bytearray(zipped("k", KERNEL, zipfile.ZIP_LZMA))
    at = plain.index(b"k") + 1
    plain[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(plain)


def quine_like_tar() -> bytes:
    """A tar of 200,000 headers."""
    return tarred("a", b"")[1024:1536] * 200_000


def xz_with_large_dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28, "preset": 0}]
    return lzma.compress(bytes(300), filters=filters)


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip-in-gzip": lambda: nested_gzip(3, 300 * MIB),
    "bzip2": lambda: bz2.compress(bytes(300 * MIB)),
    "xz": lambda: lzma.compress(bytes(300 * MIB), preset=0),
    "zlib": lambda: zlib.compress(bytes(300 * MIB)),
    "deep-gzip": lambda: nested_gzip(200, 100),
    "overlapping-zip": overlapping_zip,
    "xz-that-wants-memory": xz_with_large_dictionary,
    "zip-that-wants-memory": zip_with_large_dictionary,
    "tar-of-headers": quine_like_tar,
    "headers-of-modules": lambda: b"\0asm\1\0\0\0\1" * (2 * MIB),
    "headers-of-modules-with-names": lambda: b"\0asm\1\0\0\0\0\3\2ab" * MIB,
    "kernels": lambda: b"x" + bare() * 30_000,
    "numbers": lambda: b"0,97,115," * (2 * MIB),
    "number-anchors": lambda: b"115" * (7 * MIB),
    "hex-numbers": lambda: b"0x00,0x61,0x73,0x6d,1,0,0,0,1," + b"0x73," * (4 * MIB),
    "base64-anchors": lambda: b"AGFzbQEAAAA" * (2 * MIB),
    "base64-archives": lambda: b"H4sIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA " * (MIB // 2),
    "hex-anchors": lambda: b"0061736d01000000" * MIB,
    "escape-anchors": lambda: b"\\0asm\\1\\0\\0\\0\\1" * MIB,
    "spaces-in-an-array": lambda: b"0,97,115" + b" " * (20 * MIB),
    "quotes": lambda: b"AGFzbQEAAAA" + b'"' * (20 * MIB),
    "beginnings-of-zlib": lambda: b"\x78\x9c" * MIB,
    "local-headers-of-zips": lambda: b"PK\3\4" * (4 * MIB),
    "ends-of-zips": lambda: b"PK\5\6" * (4 * MIB),
    "directory-of-nothing": lambda: _directory_of_nothing(300_000),
    "sections": lambda: bare() + b"\0\2\1a" * (MIB // 5),
    "exports": lambda: b"\0asm\1\0\0\0\7\xff\xff\x3f\xff\xff\x3f" + b"\0\0\0" * (MIB // 3),
}


def _directory_of_nothing(count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"")
    plain = out.getvalue()
    at, end = plain.rindex(b"PK\1\2"), plain.rindex(b"PK\5\6")
    tail = bytearray(plain[end:])
    tail[12:16] = ((end - at) * count).to_bytes(4, "little")
    return plain[:at] + plain[at:end] * count + bytes(tail)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no `resource` module")
@pytest.mark.parametrize(
    ("name", "part"), [*((name, PART) for name in BOMBS), *((name, 1.0) for name in COLLECTING)]
)
def test_memory_and_time_are_bounded(name: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / "input"
    data = BOMBS[name]()
    path.write_bytes(data)
    script = tmp_path / "measure.py"
    script.write_text(MEASURED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), str(path), str(part)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    result = json.loads(done.stdout)
    assert result["peak"] < 256 * 1024
    assert result["seconds"] < (30 if part == 1 else 10) * max(len(data) / (100 * MIB), 1)
    assert result["data"]["exit_code"] != 0


def test_time_for_a_file_is_used_up_and_told(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SECONDS_PER_FILE", 0.0)
    monkeypatch.setattr(budget, "SECONDS_PER_BYTE", 0.0)
    (tmp_path / "a.wasm").write_bytes(KERNEL)
    found = check(records, tmp_path)
    assert [each.reason for each in found.skipped] == [
        "the rest would take too long: the time for a file of this size is used up"
    ]
    assert found.exit_code == 16


def test_too_much_unpacked_is_told_and_what_was_found_before_stays(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "UNPACKED", MIB)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kernel", KERNEL)
        archive.writestr("bomb", bytes(5 * MIB))
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    found = check(records, tmp_path)
    assert answers(found) == ["current"]
    assert "unpacks to far more" in found.skipped[0].reason
    assert found.exit_code == 16


def test_depth_is_bounded_and_told(records: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(nested_gzip(budget.DEPTH + 5, 100))
    found = check(records, tmp_path)
    assert [each.reason for each in found.skipped] == ["archives are nested deeper than 100"]


def test_very_many_kernels_are_cut_off_and_told(records: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" + bare() * 1100)
    found = check(records, tmp_path)
    assert len(found.kernels) == 1000
    assert "more than 1000 kernels" in found.skipped[0].reason


def encrypted_zip() -> bytes:
    plain = bytearray(zipped("k", KERNEL))
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        plain[plain.rindex(magic) + at] |= 1
    return bytes(plain)


def broken_directory() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"")
        archive.writestr("b", b"")
    plain = out.getvalue()
    at = plain.rindex(b"PK\1\2")
    return plain[:at] + b"????" + plain[at + 4 :]


def zip_of_method(number: int) -> bytes:
    plain = bytearray(zipped("k", KERNEL))
    for magic, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        plain[plain.rindex(magic) + at] = number
    return bytes(plain)


def sparse_tar() -> bytes:
    plain = bytearray(tarred("k", KERNEL))
    plain[156:157] = b"S"
    plain[148:156] = b" " * 8
    plain[148:156] = f"{sum(plain[:512]):06o}\0 ".encode()
    return bytes(plain)


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "a 7z archive, which is not supported"),
    "rar": (b"Rar!\x1a\x07" + bytes(100), "a RAR archive"),
    "encrypted-zip": (encrypted_zip(), "it is encrypted"),
    "zip-of-unknown-method": (zip_of_method(9), "compression method 9 is not supported"),
    "cut-zip": (zipped("k", KERNEL)[:-30], "a zip without its directory"),
    "zip-with-a-broken-directory": (broken_directory(), "the zip's directory is broken"),
    "cut-gzip": (gzip.compress(os.urandom(5000))[:-900], "gzip data is cut short"),
    "broken-gzip": (gzip.compress(KERNEL)[:-8] + bytes(80), "gzip data is broken"),
    "broken-xz": (lzma.compress(KERNEL)[:40] + bytes(80), "xz data is broken"),
    "cut-tar": (tarred("k", b"x" * 17_000)[:9000], "the tar is cut short"),
    "broken-tar": (tarred("k", KERNEL)[:2048] + b"?" * 1024, "the tar is broken at byte"),
    "sparse-tar": (sparse_tar(), "sparse files"),
    "broken-ar": (ar("a", b"x" * 80) + b"y" * 80, "the archive is broken at byte"),
    "packed-with-upx": (b"\x7fELF" + bytes(200) + b"UPX!" + bytes(200), "packed with UPX"),
    "damaged-module": (b"\0asm\1\0\0\0" + b"\1\x7f" + bytes(90), "a WebAssembly module that is damaged"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_looked_into_is_named(name: str, records: Path, tmp_path: Path) -> None:
    data, reason = UNREADABLE[name]
    (tmp_path / "input").write_bytes(data)
    (tmp_path / "kernel.wasm").write_bytes(KERNEL)
    found = check(records, tmp_path)
    assert set(answers(found)) == {"current"}  # also what a broken archive stores as it is
    assert len(found.skipped) == 1
    assert reason in found.skipped[0].reason
    assert found.skipped[0].where.startswith(str(tmp_path / "input"))
    assert found.exit_code == 16


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has zstd")
def test_zstd_is_named_where_python_has_none(records: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(90))
    assert "needs Python 3.14" in check(records, tmp_path).skipped[0].reason


def test_unreadable_file_costs_that_file_only(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").write_bytes(KERNEL)
    (tmp_path / "good").write_bytes(KERNEL)
    real = Path.open

    def refuse(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "bad":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    found = check(records, tmp_path)
    assert answers(found) == ["current"]
    assert [each.reason for each in found.skipped] == ["cannot be read (Permission denied)"]


def test_pipe_and_dangling_link_and_history_are_left_alone(records: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "k.wasm").write_bytes(KERNEL)
    (tmp_path / "link").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe")
    assert check(records, tmp_path).files == 0
    assert "is a pipe" in check(records, tmp_path / "pipe").skipped[0].reason
    assert answers(check(records, tmp_path / ".git")) == ["current"]


def test_any_change_of_bytes_is_answered_and_never_a_crash(records: Path, tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - the same on every run
    samples = [data for name, data in BINARIES.items() if len(data) < 20_000]
    samples += [text.encode() for text in TEXTS.values()]
    path = tmp_path / "input"
    for _ in range(400):
        data = bytearray(chance.choice(samples))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)
        found = check(records, path)
        assert found.exit_code in {0, 12, 13, 15, 16}


def test_tar_with_global_headers_and_folders_is_read(records: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "x" * 600}) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        info = tarfile.TarInfo("folder/é.wasm")
        info.size = len(KERNEL)
        archive.addfile(info, io.BytesIO(KERNEL))
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    (found,) = check(records, tmp_path).kernels
    assert found.where.endswith("a.tar!/folder/é.wasm")
