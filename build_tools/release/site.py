"""The site: the Markdown of the repository through MkDocs, with the menu that `site.toml` gives."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_tools.base.errors import SiteRefusedError, UsageError
from build_tools.base.files import guard, make_folder, new_folder, read_bounded, write_whole
from build_tools.base.findings import render_findings
from build_tools.base.process import run
from build_tools.base.project import read_toml
from build_tools.ecosystems.identity import read_identity
from build_tools.release.site_check import check_site
from build_tools.release.site_pages import Repository, make_page, place
from build_tools.release.sources import list_sources

if TYPE_CHECKING:
    from build_tools.base.findings import Finding
    from build_tools.base.project import Project

__all__ = ["build_site", "list_pages", "read_menu"]

INDEX = "search/search_index.json"  # what no other folder has
QUIET = {"NO_MKDOCS_2_WARNING": "1"}  # of the theme's authors, about a version that is not installed


def read_menu(project: Project) -> dict[str, Any]:
    """Return what `site.toml` says."""
    return read_toml(project.tools / "site.toml")


def list_pages(menu: dict[str, Any]) -> list[str]:
    """Return the Markdown files that are pages, in the order of the menu."""
    return [menu["start"], *(page for section in menu["section"] for page in section["pages"])]


def build_site(project: Project, out: Path) -> int:
    """Build the site into `out`, which only a whole site replaces, and return how many pages it has.

    Raises SiteRefusedError with every link that leads nowhere, ToolFailedError with what MkDocs refuses, and
    UsageError if `out` holds anything but a site.
    """
    with guard(out):
        if out.exists() and any(out.iterdir()) and not (out / INDEX).is_file():
            raise UsageError("the folder holds something that is no site", where=str(out), hint="--out NEW")
    menu = read_menu(project)
    pages = list_pages(menu)
    names = list_sources(project.root)
    address = read_identity(project.root / "pyproject.toml").repository
    repository = Repository(files=frozenset(names), pages=frozenset(pages), address=address)
    with tempfile.TemporaryDirectory(prefix="extism-kernel-site-") as name, new_folder(out) as built:
        folder = Path(name)
        _write_pages(project, pages, repository, folder / "docs")
        config = folder / "mkdocs.yml"  # JSON is YAML
        write_whole(config, json.dumps(_configure(menu, address)).encode())
        argv = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
        run([*argv, "--config-file", config, "--site-dir", built], cwd=folder, env=QUIET)
        findings = list(check_site(built))
        if findings:
            raise SiteRefusedError(render_findings(findings), where=str(out))
    return len(pages)


def _write_pages(project: Project, pages: list[str], repository: Repository, docs: Path) -> None:
    findings: list[Finding] = []
    images: set[str] = set()
    for name in pages:
        page = make_page(name, read_bounded(project.root / name).decode(), repository)
        findings += page.findings
        images |= page.images
        make_folder((docs / place(name)).parent)
        write_whole(docs / place(name), page.text.encode())
    if findings:
        raise SiteRefusedError(render_findings(findings), where=str(project.root))
    for name in images:
        make_folder((docs / place(name)).parent)
        shutil.copyfile(project.root / name, docs / place(name))


def _configure(menu: dict[str, Any], address: str) -> dict[str, Any]:
    """Return MkDocs' configuration: nothing is loaded from elsewhere, the site's address does not matter."""
    sections = [{each["title"]: [place(page) for page in each["pages"]]} for each in menu["section"]]
    return {
        "site_name": menu["name"],
        "nav": [{"Start": place(menu["start"])}, *sections],
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.tabs", "navigation.top", "content.code.copy", "search.highlight"],
            # As the system has it, without a switch: the charts follow the system, too.
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "indigo"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "indigo"},
            ],
        },
        "plugins": ["search"],
        "markdown_extensions": [
            "tables",
            "sane_lists",
            "pymdownx.superfences",
            "pymdownx.magiclink",
            {"toc": {"permalink": True}},
        ],
        "validation": {
            "nav": {"omitted_files": "warn", "not_found": "warn", "absolute_links": "warn"},
            "links": dict.fromkeys(("not_found", "anchors", "absolute_links", "unrecognized_links"), "warn"),
        },
        # The theme would ask GitHub for the stars of `repo_url`.
        "extra": {"generator": False, "social": [{"icon": "fontawesome/brands/github", "link": address}]},
    }
