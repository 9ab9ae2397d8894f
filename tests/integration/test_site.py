"""The site has every page as the repository shows it, and refuses what leads nowhere."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from build_tools.base.errors import SiteRefusedError, UsageError
from build_tools.base.files import make_folder, write_whole
from build_tools.base.project import Project, find_project
from build_tools.release.site import build_site, list_pages, read_menu
from build_tools.release.site_check import check_site
from build_tools.release.site_pages import Repository, make_page, place
from build_tools.release.sources import list_sources

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = find_project()
MENU = read_menu(PROJECT)
PAGES = list_pages(MENU)
COMMON = MarkdownIt("commonmark").enable("table")
ADDRESS = "https://example.org/kernel"
REPOSITORY = Repository(
    files=frozenset({"README.md", "a/README.md", "a/FACTS.md", "a/chart.svg", "a/code.py", ".b/NOTE.md"}),
    pages=frozenset({"README.md", "a/README.md", "a/FACTS.md", ".b/NOTE.md"}),
    address=ADDRESS,
)
TARGETS = {
    "page": ("a/FACTS.md", "a/FACTS.md"),
    "heading-of-a-page": ("a/FACTS.md#cost", "a/FACTS.md#cost"),
    "folder-with-a-page": ("a/", "a/README.md"),
    "folder-that-begins-with-a-dot": (".b/NOTE.md", "b/NOTE.md"),
    "image": ("a/chart.svg", "a/chart.svg"),
    "file": ("a/code.py", f"{ADDRESS}/blob/main/a/code.py"),
    "line-of-a-file": ("a/code.py#L3", f"{ADDRESS}/blob/main/a/code.py#L3"),
    "folder": (".b", f"{ADDRESS}/tree/main/.b"),
    "elsewhere": ("https://example.com/", "https://example.com/"),
    "heading": ("#cost", "#cost"),
}
# Elements that Markdown and GitHub read alike; Python's Markdown has ideas of its own about lists.
ELEMENTS = ("h1", "h2", "h3", "li", "ol", "ul", "table", "tr", "img", "pre")


@pytest.mark.parametrize(("target", "want"), TARGETS.values(), ids=TARGETS)
def test_link_leads_to_the_page_or_to_the_repository(target: str, want: str) -> None:
    page = make_page("README.md", f"See [`this`]({target}), not `[this]({target})`.", REPOSITORY)
    assert page.text == f"See [`this`]({want}), not `[this]({target})`."
    assert page.findings == ()
    assert page.images == ({target} if target.endswith(".svg") else set())


def test_link_from_a_folder_is_read_from_there() -> None:
    page = make_page(".b/NOTE.md", "[up](../a/FACTS.md) [beside](../a/code.py)", REPOSITORY)
    assert page.text == f"[up](../a/FACTS.md) [beside]({ADDRESS}/blob/main/a/code.py)"


def test_list_after_a_paragraph_stays_one() -> None:
    text = "Two:\n- one\n  more\n- two\n\n```text\ncode:\n- none\n```\n"
    page = make_page("README.md", text, REPOSITORY)
    assert page.text == text.replace("Two:\n", "Two:\n\n")


@pytest.mark.parametrize("target", ["MISSING.md", "a/missing.svg", "../README.md", "c/"])
def test_link_to_nothing_is_found(target: str) -> None:
    page = make_page("README.md", f"[x]({target})", REPOSITORY)
    found = [finding.message for finding in page.findings]
    assert found == [f"`{target}` is no file or folder of the repository"]


def test_every_document_is_a_page_or_left_out() -> None:
    assert len(PAGES) == len(set(PAGES))
    documents = {name for name in list_sources(PROJECT.root) if name.endswith(".md")}
    assert {*PAGES, *MENU["left_out"]} == documents


def test_site_has_every_page_with_all_that_is_on_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "site"
    assert build_site(PROJECT, out) == len(PAGES)
    for name in PAGES:
        page = out / place(name).replace("README.md", "index.html").replace(".md", ".html")
        html = page.read_text(encoding="utf-8")
        assert 'data-md-component="source"' not in html, "the theme would ask GitHub for the stars"
        (shown,) = re.findall(r"<article.*?</article>", html, re.DOTALL)
        text = (PROJECT.root / name).read_text(encoding="utf-8")
        assert count_elements(shown) == count_elements(COMMON.render(text)), name


def count_elements(html: str) -> dict[str, int]:
    counts = Counter(re.findall(r"<([a-z0-9]+)[ >]", html))
    return {name: counts[name] for name in ELEMENTS}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout of one page."""
    (tmp_path / "build_tools").mkdir()
    write_whole(tmp_path / "build_tools" / "site.toml", b'name = "x"\nstart = "README.md"\nsection = []\n')
    shutil.copyfile(PROJECT.root / "pyproject.toml", tmp_path / "pyproject.toml")
    return Project(tmp_path)


def test_broken_link_refuses_the_site_and_leaves_the_old_one(project: Project) -> None:
    write_whole(project.root / "README.md", b"# Title\n\n[x](MISSING.md) [y](ALSO.md)\n")
    out = project.root / "out"
    make_folder(out / "search")
    write_whole(out / "search" / "search_index.json", b"old")
    with pytest.raises(SiteRefusedError, match=r"(?s)`MISSING.md` is no file.*`ALSO.md` is no file"):
        build_site(project, out)
    assert (out / "search" / "search_index.json").read_bytes() == b"old"
    assert [path.name for path in project.root.iterdir() if path.name.startswith(".out")] == []


def test_heading_that_is_missing_refuses_the_site(project: Project) -> None:
    write_whole(project.root / "README.md", b"# Title\n\n[x](#nowhere)\n")
    with pytest.raises(SiteRefusedError, match="`#nowhere` leads nowhere"):
        build_site(project, project.root / "out")
    assert not (project.root / "out").exists()


def test_folder_of_something_else_is_left_alone(project: Project) -> None:
    with pytest.raises(UsageError, match="no site"):
        build_site(project, project.root)
    assert (project.root / "pyproject.toml").is_file()


FAULTS = {
    "page-missing": ('<a href="b.html">', "`b.html` leads nowhere"),
    "heading-missing": ('<a href="#cost">', "`#cost` leads nowhere"),
    "image-missing": ('<img src="a.svg">', "`a.svg` leads nowhere"),
    "script-external": (
        '<script src="https://x.test/a.js">',
        "`https://x.test/a.js` is loaded from elsewhere",
    ),
    "style-external": (
        '<link rel="stylesheet" href="//x.test/a.css">',
        "`//x.test/a.css` is loaded from elsewhere",
    ),
}


@pytest.mark.parametrize(("html", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_of_a_built_page_is_found(html: str, message: str, tmp_path: Path) -> None:
    write_whole(
        tmp_path / "index.html",
        f'<h1 id="top"></h1><a href="#top"></a><a href="https://x.test">{html}'.encode(),
    )
    assert [finding.message for finding in check_site(tmp_path)] == [message]


def test_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.css", b"a { src: url('https://x.test/f.woff') }\nb { src: url(f.woff) }\n")
    assert [finding.code for finding in check_site(tmp_path)] == ["resource-external"]
