"""The commands that hand over to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from build_tools.base.errors import NotStagedError
from build_tools.base.project import Project
from build_tools.cli.tools import find_suite_arguments
from build_tools.kernel.values import FILENAMES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def staged(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.package.mkdir()
    for name in FILENAMES.values():
        (project.package / name).write_bytes(b"\0asm")
    return project


def test_suite_judges_the_staged_kernel_on_all_runtimes(staged: Project) -> None:
    kernels = [str(staged.package / name) for name in FILENAMES.values()]
    assert find_suite_arguments([], staged) == ["run", *kernels, "--adapter", "all"]
    assert find_suite_arguments(["--runtime", "node"], staged) == ["run", *kernels, "--runtime", "node"]
    assert find_suite_arguments(["--runtime=node"], staged) == ["run", *kernels, "--runtime=node"]


@pytest.mark.parametrize("arguments", [["lint", "--adapter", "node"], ["--help"], ["cases", "--list"]])
def test_suite_commands_go_through_as_they_are(arguments: list[str], staged: Project) -> None:
    assert find_suite_arguments(arguments, staged) == arguments


def test_suite_without_a_staged_kernel_says_what_to_run(staged: Project) -> None:
    (staged.package / FILENAMES["core"]).unlink()
    with pytest.raises(NotStagedError, match=r"extism-runtime-core\.wasm") as caught:
        find_suite_arguments([], staged)
    assert "python -m build_tools kernel" in caught.value.render()
