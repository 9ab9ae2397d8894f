"""Each ecosystem's package is the same bytes twice, holds the kernel unchanged, and works in its place."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from build_tools.base.archive import parse_tar_gz, parse_zip
from build_tools.base.errors import ContractError
from build_tools.base.files import sha256_of
from build_tools.base.project import read_toml
from build_tools.ecosystems import ECOSYSTEMS
from build_tools.ecosystems.identity import read_identity
from tests.integration.packaging.support import digest, find_only, run

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.archive import Member
    from tests.integration.packaging.support import BuildTools

pytestmark = pytest.mark.slow

MAIN_JAR = "repository/**/extism-kernel-*[0-9].jar"
ARCHIVES = {
    "npm": "*.tgz",
    "maven": MAIN_JAR,
    "crate": "*.crate",
    "go": "proxy/**/*.zip",
    "nuget": "*.nupkg",
    "c": "*.tar.gz",
}


def read_members(path: Path) -> list[Member]:
    parse = parse_tar_gz if path.suffix in {".tgz", ".crate", ".gz"} else parse_zip
    return parse(path.read_bytes(), path.name)


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_package_is_the_same_bytes_twice(
    name: str, packages: Path, tree: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    env = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "TMPDIR": str(tmp_path)}
    done = build_tools(tree, "package", name, "--json", "--out", tmp_path / "again", env=env)
    again = {entry["name"]: entry["sha256"] for entry in json.loads(done.stdout)}
    first = {
        path.relative_to(packages / name).as_posix(): digest(path)
        for path in (packages / name).rglob("*")
        if path.is_file()
    }
    assert again == first


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_package_holds_the_kernel_the_info_and_the_licence(name: str, packages: Path, kernel: Path) -> None:
    members = read_members(find_only(packages / name, ARCHIVES[name]))
    digests = {member.name.rsplit("/", 1)[-1]: sha256_of(member.data) for member in members}
    info = json.loads((kernel / "kernel_info.json").read_bytes())
    for flavour in info["flavours"].values():
        assert digests[flavour["file"]] == flavour["sha256"] == digest(kernel / flavour["file"])
    assert digests["kernel_info.json"] == digest(kernel / "kernel_info.json")
    assert "LICENSE" in digests


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_package_names_the_project_as_pyproject_does(name: str, packages: Path, tree: Path) -> None:
    identity = read_identity(tree / "pyproject.toml")
    found = {path: path.read_bytes() for path in (packages / name).rglob("*") if path.is_file()}
    texts = [
        data for path, data in found.items() if not path.name.endswith((".gz", ".tgz", ".zip", ".crate"))
    ]
    members = [member.data for member in read_members(find_only(packages / name, ARCHIVES[name]))]
    everything = b"".join([*texts, *members])
    assert identity.repository.encode() in everything
    assert set(re.findall(rb"https://github\.com/[\w.-]+/[\w-]+", everything)) <= {
        identity.repository.encode(),
        identity.repository.encode() + b"-go",
    }
    assert not re.findall(rb"@[A-Z][A-Z_]+@", everything), "a key of a template has no value"


def test_address_stands_in_pyproject_alone_and_where_that_cannot_be_read(tree: Path) -> None:
    """What must spell it again spells the same; templates, sources and documents take it from there."""
    identity = read_identity(tree / "pyproject.toml")
    suite = read_identity(tree / "tests" / "conformance" / "pyproject.toml")
    assert (suite.repository, suite.issues, suite.homepage) == (
        identity.repository,
        identity.issues,
        identity.homepage,
    )
    crate = read_toml(tree / "kernel-src" / "Cargo.toml")["package"]
    assert crate["repository"] == identity.repository
    for path in ("pyproject.toml", "tests/conformance/pyproject.toml"):
        urls = read_toml(tree / path)["project"]["urls"]
        assert all(url.startswith(identity.repository) for key, url in urls.items() if key != "Homepage")
    spelled = run("git", "grep", "-lF", identity.repository, "--", ":!.github", cwd=tree).stdout.split()
    assert [
        name for name in spelled if not name.endswith(("pyproject.toml", "Cargo.toml", "README.md"))
    ] == []


def test_workflows_and_actions_are_named_by_the_repository(tree: Path) -> None:
    """GitHub's own files cannot take it from anywhere, nor can those who copy a line that uses them."""
    name = read_identity(tree / "pyproject.toml").repository.removeprefix("https://github.com/")
    found = run("git", "grep", "-hoE", r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/\.github/", cwd=tree).stdout.split()
    assert found
    assert set(found) == {f"{name}/.github/"}
    urls = run("git", "grep", "-hoE", r"github\.com/extism/[a-z-]+", "--", ".github", cwd=tree).stdout.split()
    assert set(urls) <= {f"github.com/{name}"}


def test_project_without_an_address_is_refused(tmp_path: Path) -> None:
    for text in ("", '[project.urls]\nRepository = "https://example.org/x"\n'):
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(ContractError, match=r"project\.authors"):
            read_identity(tmp_path / "pyproject.toml")


def test_altered_staged_kernel_is_refused(tree: Path, called_tools: BuildTools, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    module = copy / "extism_kernel_pkg" / "extism-runtime.wasm"
    module.write_bytes(module.read_bytes() + b"\0\x02\x01x")
    done = called_tools(copy, "package", "npm", "--out", tmp_path / "out", check=False)
    assert done.returncode == 5
    assert "error[kernel-altered]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_missing_kernel_is_refused_with_the_remedy(
    checkout: Path, called_tools: BuildTools, tmp_path: Path
) -> None:
    done = called_tools(checkout, "package", "npm", "--out", tmp_path / "out", check=False)
    assert done.returncode == 5
    assert "error[kernel-not-staged]" in done.stderr
    assert "python -m build_tools kernel" in done.stderr
