"""The small readers around a release: changelog, index pages, sums, provenance, known digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build_tools.base.errors import IndexUnreachableError, UsageError
from build_tools.base.findings import Artifact
from build_tools.release.changelog import has_unreleased, newest_heading, read_sections_of
from build_tools.release.index import check_index_url, parse_page, simple_url
from build_tools.release.provenance import check_provenance, check_sums, make_sums
from extism_kernel_pkg.vendored.known import order

ARTIFACT = Artifact(name="a.whl", path=Path("a.whl"), size=3, sha256="a" * 64)


def test_newest_heading_is_the_first_version(tmp_path: Path) -> None:
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - 2026-11-23\n\n### ABI\n\n## 1.0.0-rc.1\n")
    assert list(read_sections_of(path)) == ["Unreleased", "1.1.0", "1.0.0-rc.1"]
    assert newest_heading(path) == "1.1.0"
    assert not has_unreleased(path)


def test_entries_without_a_version_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "CHANGELOG.md"
    path.write_text("## [Unreleased]\n\n- something\n\n## [1.1.0]\n")
    assert has_unreleased(path)


def test_absent_changelog_has_no_heading(tmp_path: Path) -> None:
    assert newest_heading(tmp_path / "CHANGELOG.md") is None


def test_versions_are_ordered_as_semver_does() -> None:
    ordered = ["0.9.0", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0-beta.1", "1.0.0-rc.1", "1.0.0", "1.0.10"]
    assert sorted(set(ordered), key=order) == ordered


def test_sums_are_checked_against_the_files() -> None:
    sums = make_sums([ARTIFACT])
    assert list(check_sums(sums, [ARTIFACT])) == []
    (finding,) = check_sums(sums.replace(b"a" * 64, b"b" * 64), [ARTIFACT])
    assert finding.code == "digest-differs"
    (finding,) = check_sums(b"", [ARTIFACT])
    assert "says nothing" in finding.message


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "predicateType": "https://slsa.dev/provenance/v1",
    "subject": [{"name": "a.whl", "digest": {"sha256": "a" * 64}}],
}
FAULTS = {
    "not-json": (b"{", "provenance-invalid"),
    "no-subject": (b"{}", "provenance-invalid"),
    "other-type": (json.dumps(STATEMENT | {"_type": "x"}).encode(), "provenance-invalid"),
    "other-file": (json.dumps(STATEMENT | {"subject": []}).encode(), "digest-differs"),
}


def test_sound_provenance_has_no_findings() -> None:
    assert list(check_provenance(json.dumps(STATEMENT).encode(), [ARTIFACT], where="p")) == []


@pytest.mark.parametrize(("data", "code"), FAULTS.values(), ids=FAULTS)
def test_faulty_provenance_is_found(data: bytes, code: str) -> None:
    assert code in {finding.code for finding in check_provenance(data, [ARTIFACT], where="p")}


def test_index_pages_in_html_and_json_say_the_same() -> None:
    html = f'<a href="../files/a%2B1.whl#sha256={"a" * 64}">a</a><a href="/b.whl">b</a><a>none</a>'
    page = {
        "files": [
            {"filename": "a+1.whl", "hashes": {"sha256": "a" * 64}},
            {"filename": "b.whl", "hashes": {}},
        ]
    }
    assert parse_page(html, "text/html", "url") == parse_page(json.dumps(page), "application/json", "url")


@pytest.mark.parametrize("text", ["", "[]", '{"files": [1]}', '{"files": [{"filename": "x"}]}'])
def test_json_that_is_no_project_page_is_refused(text: str) -> None:
    with pytest.raises(IndexUnreachableError, match="not a project page"):
        parse_page(text, "application/vnd.pypi.simple.v1+json", "url")


@pytest.mark.parametrize("url", ["https://user:secret@host/", "https://token@host/"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_index_url(url, "--index")
    assert "secret" not in caught.value.render()
    assert "token" not in caught.value.render()


@pytest.mark.parametrize("url", ["ftp://host/", "host/simple", "file:///etc"])
def test_url_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an http or https URL"):
        check_index_url(url, "--index")


def test_unencrypted_index_is_for_this_machine_only() -> None:
    assert check_index_url("http://127.0.0.1:8080/legacy/", "--index") == "http://127.0.0.1:8080/legacy"
    with pytest.raises(UsageError, match="in the clear"):
        check_index_url("http://index.example/legacy/", "--index")


def test_index_is_read_beside_where_it_is_written() -> None:
    assert simple_url("https://host/legacy") == "https://host/simple"
    assert simple_url("https://host/repo") == "https://host/repo/simple"
