"""Two builds under different conditions are compared, and a difference is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.packaging.support import commit, digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.packaging.support import BuildTools, Release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # four builds, two of which compile

FOLDER_DEPENDENT = """
from pathlib import Path
_skbuild_wheel = skbuild.build_wheel
def _with_folder(*arguments):
    Path("extism_kernel_pkg", "folder.py").write_text(f"FOLDER = {str(Path.cwd())!r}")
    return _skbuild_wheel(*arguments)
skbuild.build_wheel = _with_folder
"""


def test_two_builds_under_different_conditions_are_equal(
    checkout: Path, build_tools: BuildTools, release: Release
) -> None:
    done = build_tools(checkout, "reproduce", "--json")
    result = json.loads(done.stdout)
    assert result["equal"]
    first, second = result["conditions"]
    assert first != second
    digests = {artifact["name"]: artifact["first"] for artifact in result["artifacts"]}
    assert digests[release.wheel.name] == digest(release.wheel)
    assert digests[release.sdist.name] == digest(release.sdist)


def test_difference_from_a_release_is_named_with_its_member(
    own_checkout: Path, build_tools: BuildTools, prebuilt: Path, release: Release
) -> None:
    backend = own_checkout / "build_tools" / "release" / "backend.py"
    backend.write_text(backend.read_text() + FOLDER_DEPENDENT)
    commit(own_checkout)
    options = ["--prebuilt", str(prebuilt), "--against", str(release.folder)]
    done = build_tools(own_checkout, "reproduce", *options, check=False)
    assert done.returncode == 7
    assert "error[not-reproducible]" in done.stderr
    assert "`extism_kernel_pkg/folder.py` is only in the second build's" in done.stderr
    assert done.stdout.count("equal ") == 4, "the modules and the suite are the same"
