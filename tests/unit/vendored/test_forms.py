"""A kernel is found by its content, whatever surrounds it, and wherever it is written down."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from tests.unit.vendored.support import answers, check, digest, kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KERNEL = kernel()
NOISE = bytes(range(1, 256)) * 700


def zipped(name: str, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("empty/", b"")
        archive.writestr(name, data)
    return out.getvalue()


def tarred(name: str, data: bytes, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for each, content in (("first", b"x" * 700), (name, data), ("last", b"y")):
            info = tarfile.TarInfo(each)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def ar(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    return b"!<arch>\n" + header + data + b"\n" * (len(data) % 2)


def numbers(data: bytes, form: str, join: str = ", ") -> str:
    return join.join(form.format(byte) for byte in data)


def lines(text: str, width: int = 76, end: str = "\n") -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def signed(data: bytes) -> str:
    return ", ".join(str(byte - 256 if byte > 127 else byte) for byte in data)


def escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def wat(data: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02x}" for b in data)


def octal(data: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b"\"\\'%" else f"\\{b:03o}" for b in data)


BASE64 = base64.b64encode(KERNEL).decode()
GZIP = base64.b64encode(gzip.compress(KERNEL)).decode()
LONG = "folder/" * 30 + "kernel.wasm"
MSDOS = b"MZ" + NOISE + b"PE\0\0"
BINARIES: dict[str, bytes] = {
    "elf": b"\x7fELF\2\1\1" + NOISE + KERNEL + b"\0" * 9 + NOISE,
    "mach-o": b"\xcf\xfa\xed\xfe" + NOISE + KERNEL + NOISE,
    "pe": MSDOS + KERNEL + NOISE,
    "elf-of-nine-megabytes": b"\x7fELF" + b"\x90" * (9 << 20) + KERNEL + b"\x90" * 100,
    "gzip-in-an-executable": b"\x7fELF" + NOISE + gzip.compress(KERNEL) + NOISE,
    "zlib-in-an-executable": MSDOS + zlib.compress(KERNEL) + NOISE,
    "bzip2-in-an-executable": b"\x7fELF" + NOISE + bz2.compress(KERNEL) + NOISE,
    "xz-of-a-tar-in-an-executable": b"\x7fELF" + NOISE + lzma.compress(tarred("k.wasm", KERNEL)) + NOISE,
    "gzip-of-a-gzip-in-an-executable": b"\x7fELF" + NOISE + gzip.compress(gzip.compress(KERNEL)),
    "zlib-after-what-looks-like-it": b"\x7fELF" + b"\x78\x9c\x01\x78\xda" * 99 + zlib.compress(KERNEL),
    "zlib-after-another-stream": b"\x7fELF" + zlib.compress(NOISE) + zlib.compress(KERNEL),
    "zlib-between-two-chunks": b"\x90" * ((4 << 20) - 1) + zlib.compress(KERNEL) + b"\x90" * 50,
    "between-two-chunks": b"\x90" * ((4 << 20) - 3) + KERNEL + b"\x90" * 50,
    "followed-by-what-looks-like-a-section": b"\x7fELF" + KERNEL + b"\0\5\4name" + NOISE,
    "inside-another-module": b"\0asm\1\0\0\0\x0b\xff\xff\3\1\1" + (KERNEL + b"\0" * 70000)[: 65535 - 2],
    "stored-zip": zipped("k.wasm", KERNEL, zipfile.ZIP_STORED),
    "zip": zipped("k.wasm", KERNEL),
    "bzip2-zip": zipped("k.wasm", KERNEL, zipfile.ZIP_BZIP2),
    "lzma-zip": zipped("k.wasm", KERNEL, zipfile.ZIP_LZMA),
    "zip-behind-a-script": b"#!/usr/bin/env python3\n" + zipped("k.wasm", KERNEL),
    "zip-in-an-executable": MSDOS + zipped("k.wasm", KERNEL),
    "tar": tarred("k.wasm", KERNEL),
    "gnu-tar-with-a-long-name": tarred(LONG, KERNEL, tarfile.GNU_FORMAT),
    "pax-tar-with-a-long-name": tarred(LONG, KERNEL),
    "tar-gz": gzip.compress(tarred("k.wasm", KERNEL)),
    "tar-bz2": bz2.compress(tarred("k.wasm", KERNEL)),
    "tar-xz": lzma.compress(tarred("k.wasm", KERNEL)),
    "lone-gz": gzip.compress(KERNEL),
    "lone-lzma": lzma.compress(KERNEL, format=lzma.FORMAT_ALONE),
    "lone-zlib": zlib.compress(KERNEL),
    "two-gzip-streams": gzip.compress(b"first" * 20) + gzip.compress(KERNEL),
    "debian-package": ar("data.tar.xz", lzma.compress(tarred("k.wasm", KERNEL))),
    "static-library": ar("k.o", b"\x7fELF" + NOISE + KERNEL),
    "jar-in-jar-in-tgz": gzip.compress(tarred("a.jar", zipped("b.jar", zipped("k.wasm", KERNEL)))),
    "twenty-archives-deep": b"",
    "utf8-bom-then-base64": b"\xef\xbb\xbf" + BASE64.encode(),
}
deep = KERNEL
for _ in range(20):
    deep = gzip.compress(zipped("inner", deep))
BINARIES["twenty-archives-deep"] = deep
TEXTS: dict[str, str] = {
    "c-header": "unsigned char k[] = {\n  " + lines(numbers(KERNEL, "0x{:02x}"), 72) + "\n};\n",
    "c-header-upper-case": "{ " + numbers(KERNEL, "0X{:02X}", ",") + " }",
    "c-with-comments": "{ /* magic */ " + numbers(KERNEL, "0x{:02X}", ", /* x */\n") + "}",
    "rust": "static K: [u8; 9] = [" + numbers(KERNEL, "{}") + "];",
    "rust-with-suffix": "&[0u8, " + numbers(KERNEL[1:], "{}") + "]",
    "rust-hex-with-suffix": "&[" + numbers(KERNEL, "0x{:02x}u8", ",") + "]",
    "go": "[]byte{" + numbers(KERNEL, "0x{:x}") + "}",
    "java-signed": "byte[] k = {" + signed(KERNEL) + "};",
    "java-with-casts": "{" + numbers(KERNEL, "(byte) 0x{:02x}") + "}",
    "minified-javascript": "var k=new Uint8Array([" + numbers(KERNEL, "{}", ",") + "]);",
    "base64": f"const k = '{BASE64}';",
    "base64-in-lines": lines(BASE64),
    "base64-with-carriage-returns": lines(BASE64, end="\r\n"),
    "base64-in-pieces": 'k = "' + lines(BASE64, 60, '"\n  + "') + '";',
    "base64-for-urls": json.dumps({"k": base64.urlsafe_b64encode(KERNEL).decode()}),
    "base64-in-json-with-ends-of-lines": json.dumps(lines(BASE64)),
    "data-url": f"fetch('data:application/wasm;base64,{BASE64}')",
    "data-url-of-gzip": f"x('data:application/gzip;base64,{GZIP}')",
    "base64-of-a-zip": f"x = `{base64.b64encode(zipped('k', KERNEL)).decode()}`",
    "base64-of-a-zip-in-lines": lines(base64.b64encode(zipped("k", KERNEL)).decode()),
    "hex": f'bytes.fromhex("{KERNEL.hex()}")',
    "hex-upper-case-in-lines": lines(KERNEL.hex().upper(), 64),
    "python-literal": repr(KERNEL),
    "javascript-escapes": '"' + escaped(KERNEL) + '"',
    "javascript-unicode-escapes": '"' + "".join(f"\\u{byte:04x}" for byte in KERNEL) + '"',
    "shell-printf": f"printf '{octal(KERNEL)}' > k.wasm",
    "text-format-data": f'(module (data "{wat(KERNEL)}"))',
}


@pytest.mark.parametrize("name", BINARIES)
def test_kernel_in_a_binary_is_found(name: str, records: Path, tmp_path: Path) -> None:
    path = tmp_path / "FILE.BIN"
    path.write_bytes(BINARIES[name])
    found = check(records, path)
    assert [(each.sha256, each.size) for each in found.kernels] == [(digest(KERNEL), len(KERNEL))]
    assert answers(found) == ["current"]
    assert found.skipped == ()
    assert found.exit_code == 0


@pytest.mark.parametrize("name", TEXTS)
def test_kernel_written_down_as_text_is_found(name: str, records: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("first line, 0, 97, 115\n" + TEXTS[name] + "\nlast line\n", encoding="utf-8")
    found = check(records, path)
    assert [(each.sha256, each.size) for each in found.kernels] == [(digest(KERNEL), len(KERNEL))]
    assert found.skipped == ()


def test_place_inside_is_told(records: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tarred("lib/x.so", b"\x7fELF" + NOISE + KERNEL)))
    (kernel_found,) = check(records, tmp_path).kernels
    assert kernel_found.where.endswith("a.tgz!/a.tar!/lib/x.so")
    assert kernel_found.offset == 4 + len(NOISE)


def test_zip64_directory_is_read(records: Path, tmp_path: Path) -> None:
    plain = zipped("k.wasm", KERNEL)
    at = plain.rindex(b"PK\5\6")
    size, offset = struct.unpack("<II", plain[at + 12 : at + 20])
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.zip").write_bytes(plain[:at] + wide + locator + end)
    assert answers(check(records, tmp_path)) == ["current"]


def test_kernel_in_each_file_of_a_folder_is_found(records: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "k.wasm").write_bytes(KERNEL)
    (tmp_path / "a" / "b" / "k.c").write_text(TEXTS["c-header"])
    (tmp_path / "other.txt").write_text("nothing")
    found = check(records, tmp_path)
    assert len(found.kernels) == 2
    assert found.files == 3


PLUGIN = bytes(
    wat2wasm(
        '(module (import "extism:host/env" "alloc" (func (param i64) (result i64)))'
        ' (import "env" "extism_free" (func (param i64))) (memory (export "memory") 1) (func (export "run")))'
    )
)


@pytest.mark.parametrize("make", [bytes, gzip.compress], ids=["as it is", "compressed"])
def test_plugin_is_no_kernel(make: Callable[[bytes], bytes], records: Path, tmp_path: Path) -> None:
    (tmp_path / "plugin").write_bytes(make(PLUGIN))
    found = check(records, tmp_path)
    assert found.kernels == ()
    assert found.skipped == ()
    assert found.exit_code == 15


def test_cut_plugin_is_damaged_and_no_altered_kernel(records: Path, tmp_path: Path) -> None:
    (tmp_path / "plugin.wasm").write_bytes(PLUGIN[:-9])
    found = check(records, tmp_path)
    assert found.kernels == ()
    assert ["WebAssembly module that is damaged" in each.reason for each in found.skipped] == [True]
    assert found.exit_code == 16
