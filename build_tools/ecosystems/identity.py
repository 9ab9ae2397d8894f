"""Who the packages are from and where they live, read from `pyproject.toml`, the one place that says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import ContractError
from build_tools.base.project import read_toml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Identity", "read_identity"]

GITHUB = "https://github.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The author and the addresses of the project, all URLs without a slash at their end."""

    author: str
    homepage: str
    repository: str
    issues: str

    def values(self) -> dict[str, str]:
        """Return the values of the keys that every template may name."""
        return {
            "AUTHOR": self.author,
            "HOMEPAGE": self.homepage,
            "REPOSITORY": self.repository,
            "REPOSITORY_PATH": self.repository.removeprefix("https://"),
            "ISSUES": self.issues,
        }


def read_identity(pyproject: Path) -> Identity:
    """Return the identity that `[project]` of a pyproject.toml states.

    Raises ContractError if a name or an address is missing, or the repository is not one of GitHub's, which
    Go and npm's provenance rely on.
    """
    table = read_toml(pyproject).get("project", {})
    urls = table.get("urls", {})
    missing = [
        f"`project.urls.{name}` is missing"
        for name in ("Homepage", "Repository", "Issues")
        if not urls.get(name)
    ]
    authors = [author["name"] for author in table.get("authors", []) if author.get("name")]
    if not authors:
        missing.append("`project.authors` names nobody")
    repository = str(urls.get("Repository", GITHUB))
    if not repository.startswith(GITHUB) or repository.endswith(("/", ".git")):
        missing.append(f"`project.urls.Repository` is `{repository}`, it should be {GITHUB}OWNER/NAME")
    if missing:
        raise ContractError(missing, where=pyproject, hint="complete `[project]` there")
    return Identity(
        author=", ".join(authors), homepage=urls["Homepage"], repository=repository, issues=urls["Issues"]
    )
