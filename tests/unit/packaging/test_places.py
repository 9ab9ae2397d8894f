"""The version is found by its form, and nothing else that looks like one is touched."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from scikit_build_core.metadata.regex import dynamic_metadata

from build_tools.base.project import find_project, read_toml
from build_tools.kernel.version import read_version, to_pep440
from build_tools.release.pending import drop_pending
from build_tools.release.places import find_places, set_version
from build_tools.release.prepare import next_version

if TYPE_CHECKING:
    from pathlib import Path

OURS = {
    "a/Cargo.toml": '[package]\nname = "extism-kernel"\nversion = "{}"\n',
    "Cargo.lock": '[[package]]\nname = "other"\nversion = "1.2.3-rc.4"\n\n[[package]]\n'
    'name = "extism-kernel"\nversion = "{}"\n',
    "install.md": "`pip install extism-kernel=={pep}` and `npm i extism-kernel@{}`\n",
    "package.json": '{{"dependencies": {{"extism-kernel": "^{}", "x": "1.2.3-rc.4"}}}}\n',
}
OTHERS = {
    "CHANGELOG.md": "extism-kernel@1.2.3-rc.4 was good\n",
    "longer.md": "extism-kernel@1.2.3-rc.45, extism-kernel-x@1.2.3-rc.4, 1.2.3-rc.4\n",
    "crate.toml": '[package]\nname = "extism-kernel-fuzz"\nversion = "1.2.3-rc.4"\n',
}


def fill(text: str, version: str, pep: str) -> str:
    return text.replace("{pep}", pep).replace("{}", version).replace("{{", "{").replace("}}", "}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    files = {name: fill(text, "1.2.3-rc.4", "1.2.3rc4") for name, text in OURS.items()} | OTHERS
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "untracked.md").write_text("extism-kernel@1.2.3-rc.4")
    for argv in (["init", "-q"], ["add", "--all", "--", ":!untracked.md"]):
        subprocess.run(["git", *argv], cwd=root, check=True)  # noqa: S607 - the one on PATH
    return root


def test_every_form_is_found_with_its_line(tree: Path) -> None:
    found = [(place.file, place.line) for place in find_places(tree, "1.2.3-rc.4")]
    assert found == [
        ("Cargo.lock", 7),
        ("a/Cargo.toml", 3),
        ("install.md", 1),
        ("install.md", 1),
        ("package.json", 1),
    ]


def test_every_form_is_changed_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    set_version(tree, "1.2.3-rc.4", "1.3.0-beta.2", into=out)
    changed = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*.*")}
    assert changed == {name: fill(text, "1.3.0-beta.2", "1.3.0b2") for name, text in OURS.items()}


def test_the_project_names_its_version_where_it_must() -> None:
    project = find_project()
    if not (project.root / ".git").exists():
        pytest.skip("not a git checkout (fix it with `git clone`)")
    files = {place.file for place in find_places(project.root, read_version(project.cargo_toml))}
    assert files >= {"kernel-src/Cargo.toml", "kernel-src/Cargo.lock", "tests/native/Cargo.lock"}
    assert "CHANGELOG.md" not in files


@pytest.mark.parametrize("version", ["1.0.0", "1.0.0-alpha.1", "1.20.3-beta.10", "1.0.0-rc.0"])
def test_metadata_spells_the_version_as_python_does(version: str, tmp_path: Path) -> None:
    project = find_project()
    (settings,) = read_toml(project.root / "pyproject.toml")["tool"]["dynamic-metadata"]
    path = tmp_path / "Cargo.toml"
    path.write_text(f'[package]\nversion = "{version}"\n')
    options = {name: settings[name] for name in ("regex", "remove")}
    assert dynamic_metadata("version", {"input": str(path), **options}) == to_pep440(version)


@pytest.mark.parametrize(
    ("version", "following"),
    [("1.0.0", "1.0.1-rc.0"), ("1.2.9", "1.2.10-rc.0"), ("1.0.0-rc.1", "1.0.0-rc.2")],
)
def test_next_version_comes_after(version: str, following: str) -> None:
    assert next_version(version) == following


def test_what_holds_until_the_first_release_is_left_out() -> None:
    pending = "<!-- until the first release -->\nNothing yet.\n\nNothing.\n<!-- end -->\n"
    assert drop_pending(f"One.\n\n{pending}\nTwo.\n\n{pending}") == "One.\n\nTwo.\n"
    assert drop_pending("One <!-- end -->\n") == "One <!-- end -->\n"
