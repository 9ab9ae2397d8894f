"""Each kernel gets its answer, with a reason and what to do; the worst answer decides the exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg import KernelCorruptError
from extism_kernel_pkg._wasm import HEADER, SectionId, encode_custom, read_sections
from extism_kernel_pkg.vendored import ALLOWANCES, Answer, read_known, render_text, to_data, to_sarif
from extism_kernel_pkg.vendored.known import is_release, order
from tests.unit.vendored.support import (
    OLDER,
    VERSION,
    answers,
    bare,
    check,
    digest,
    kernel,
    producers,
    upstream,
    write_records,
)

if TYPE_CHECKING:
    from pathlib import Path

CHANGED = "(func)"
WITHOUT_CODE = kernel()[: next(each.start for each in read_sections(kernel()) if each.id is SectionId.CODE)]
ANSWERS: dict[str, tuple[str, int, bytes, str]] = {
    "current": ("current", 0, kernel(), "the newest on record"),
    "older-release": ("stale", 10, kernel(OLDER), f"{VERSION} is newer"),
    "other-toolchain": ("rebuilt", 11, kernel(rustc="1.80.1", extra=CHANGED), "by rustc 1.80.1; on record"),
    "no-stamp": ("unknown", 12, bare(), "carries no version of ours"),
    "first-names": ("unknown", 12, bare("extism_"), "carries no version of ours"),
    "newer-version": ("unknown", 12, kernel("4.0.0"), f"knows up to {VERSION}"),
    "version-nobody-released": ("unknown", 12, kernel("1.0.0"), "a version that is not on record"),
    "version-that-is-none": ("unknown", 12, kernel("\x1b[31m"), "carries no version of ours"),
    "changed-code": ("altered", 13, kernel(extra=CHANGED), "its digest is none of that version's"),
    "compiler-not-named": (
        "altered",
        13,
        bare(extra=CHANGED) + encode_custom("extism", VERSION.encode()),
        "its digest is none",
    ),
    "cut-short": ("altered", 13, kernel()[:-7], "cut short or damaged"),
    "cut-in-the-code": ("altered", 13, bare()[:-3], "cut short or damaged"),
    "code-left-out": ("altered", 13, WITHOUT_CODE, "without its code"),
    "section-added": ("altered", 13, kernel() + encode_custom("more", b"x"), "bytes added at its end"),
    "bytes-added": ("altered", 13, kernel() + b"\xff" * 9, "9 bytes added at its end"),
    "upstream-altered": ("altered", 13, upstream(2) + encode_custom("more", b""), "upstream's kernel with 7"),
    "upstream": ("upstream", 14, upstream(2), "0123456789 of extism, 2022-01-02; in extism 1.0.0"),
    "older-upstream": ("upstream-stale", 14, upstream(1), "not the newest of upstream's"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_kernel_gets_its_answer_its_reason_and_its_exit_code(
    name: str, records: Path, tmp_path: Path
) -> None:
    answer, code, data, reason = ANSWERS[name]
    (tmp_path / "kernel.wasm").write_bytes(data)
    found = check(records, tmp_path)
    assert answers(found) == [answer]
    assert found.exit_code == code
    facts = found.kernels[0].facts
    assert reason in facts.reason
    assert facts.action
    assert found.kernels[0].sha256 == digest(data)


def test_every_answer_has_a_case() -> None:
    assert {answer for answer, *_ in ANSWERS.values()} == {answer.value for answer in Answer}


WORST_FIRST = ("changed-code", "no-stamp", "other-toolchain", "older-release", "upstream", "current")


def test_worst_answer_decides_the_exit_code(records: Path, tmp_path: Path) -> None:
    for name in reversed(WORST_FIRST):
        (tmp_path / f"{name}.wasm").write_bytes(ANSWERS[name][2])
        assert check(records, tmp_path).exit_code == ANSWERS[name][1]


@pytest.mark.parametrize("allowance", ALLOWANCES)
def test_what_is_allowed_does_not_fail(allowance: str, records: Path, tmp_path: Path) -> None:
    for answer, _, data, _ in ANSWERS.values():
        if answer == allowance:
            (tmp_path / "kernel.wasm").write_bytes(data)
    if allowance == "incomplete":
        (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 100)
        (tmp_path / "kernel.wasm").write_bytes(kernel())
    assert check(records, tmp_path).exit_code != 0
    assert check(records, tmp_path, allowed=(allowance,)).exit_code == 0


def test_allowing_upstream_lets_its_older_kernels_through(records: Path, tmp_path: Path) -> None:
    (tmp_path / "kernel.wasm").write_bytes(upstream(1))
    assert check(records, tmp_path, allowed=("upstream",)).exit_code == 0


def test_versions_are_in_the_order_of_semver() -> None:
    versions = [
        "no version",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
    ]
    versions += ["1.0.0", "1.0.1-rc.1", "1.10.0"]
    assert sorted(versions, key=order) == versions
    assert [is_release(version) for version in ("1.0.0", "1.0.0-rc.1", "1.0.0+build", "1")] == [
        True,
        False,
        False,
        False,
    ]


def test_a_newer_prerelease_on_record_does_not_make_a_release_stale(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "package")
    (folder / "kernel_info.json").unlink()
    releases = [
        {"version": version, "modules": {"core": digest(kernel(version))}}
        for version in ("2.0.0-rc.1", "2.0.0", "2.1.0-rc.1")
    ]
    (folder / "known_digests.json").write_text(json.dumps({"schema": 1, "releases": releases}))
    expected = {"2.0.0-rc.1": "stale", "2.0.0": "current", "2.1.0-rc.1": "current"}
    for version, answer in expected.items():
        (tmp_path / "kernel.wasm").write_bytes(kernel(version))
        assert answers(check(folder, tmp_path / "kernel.wasm")) == [answer]


def test_build_by_another_toolchain_that_is_on_record_is_recognised(tmp_path: Path) -> None:
    folder = write_records(tmp_path / "package")
    other = kernel(rustc="1.80.1", extra=CHANGED)
    content = json.loads((folder / "known_digests.json").read_bytes())
    content["releases"].append(
        {
            "version": VERSION,
            "modules": {"core": digest(kernel())},
            "rebuilds": [{"toolchain": "rustc 1.80.1 (abc)", "modules": {"core": digest(other)}}],
        }
    )
    (folder / "known_digests.json").write_text(json.dumps(content))
    (tmp_path / "kernel.wasm").write_bytes(other)
    assert answers(check(folder, tmp_path / "kernel.wasm")) == ["current"]


BROKEN = {
    "kernel_info.json": [
        b"{",
        b"[]",
        b'{"version": 1}',
        b'{"version": "1.0.0", "flavours": {"core": {}}}',
        b"\xff",
    ],
    "known_digests.json": [
        b"null",
        b'{"schema": 9, "releases": []}',
        b'{"schema": 1, "releases": [{}]}',
        b'{"schema": 1, "releases": [{"version": "1.0.0", "modules": {"core": "abc"}}]}',
        b"[" * 100_000,
    ],
    "vendored/upstream_digests.json": [b'{"schema": 1, "kernels": [{}], "current": ""}'],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, contents in BROKEN.items() for content in contents]
)
def test_malformed_record_is_named_with_a_remedy(name: str, content: bytes, tmp_path: Path) -> None:
    folder = write_records(tmp_path / "package")
    (folder / name).write_bytes(content)
    with pytest.raises(KernelCorruptError, match=rf"`{name.rpartition('/')[2]}` is malformed .*reinstall"):
        read_known(folder)


def test_package_knows_every_kernel_that_upstream_shipped() -> None:
    known = read_known()
    current = [each for each in known.upstream if each.is_current]
    assert [each.sha256[:8] for each in current] == ["d1389b31"]
    by_digest = {each.sha256[:8]: each for each in known.upstream}
    assert "chicory-sdk 0.1.0 to 0.2.0" in by_digest["c04772bc"].releases
    assert "wamr-sdk (no release)" in by_digest["6ec37743"].releases
    assert len(by_digest) == len(known.upstream) > 70


def test_nothing_of_the_input_reaches_the_terminal_unescaped(records: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad\x1b[2J\nname"
    folder.mkdir()
    (folder / "k\udc80\u202e.wasm").write_bytes(kernel(OLDER))
    (folder / "x\x07.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 100)
    (folder / "y.wasm").write_bytes(HEADER + encode_custom("\x1b[31m", b"") + b"\7" * 80)
    found = check(records, folder)
    assert len(found.kernels) == 1
    assert len(found.skipped) == 2
    texts = [render_text(found), json.dumps(to_data(found)), json.dumps(to_sarif(found, version=VERSION))]
    for text in texts:
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert text.isascii()


def test_sarif_has_a_result_for_each_kernel_that_is_not_good(records: Path, tmp_path: Path) -> None:
    for name in WORST_FIRST:
        (tmp_path / f"{name}.wasm").write_bytes(ANSWERS[name][2])
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 100)
    (tmp_path / "lib.so").write_bytes(b"\x7fELF" + upstream(1))
    log = to_sarif(check(records, tmp_path, allowed=("stale",)), version=VERSION)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == rules - {"stale"}
    assert all(result["message"]["text"] for result in run["results"])
    (where,) = [each["locations"][0] for each in run["results"] if each["ruleId"] == "upstream-stale"]
    assert where["physicalLocation"]["artifactLocation"]["uri"].startswith("file:///")
    assert where["physicalLocation"]["region"]["byteOffset"] == 4
    (invocation,) = run["invocations"]
    assert invocation["exitCode"] == 13
    assert invocation["executionSuccessful"] is False
    assert "7z" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_compiler_is_read_from_producers(records: Path, tmp_path: Path) -> None:
    (tmp_path / "k.wasm").write_bytes(bare() + producers("1.77.7 (abc)"))
    assert check(records, tmp_path).kernels[0].facts.toolchain == "1.77.7"
    (tmp_path / "k.wasm").write_bytes(bare() + encode_custom("producers", b"\xff"))
    assert check(records, tmp_path).kernels[0].facts.toolchain is None
