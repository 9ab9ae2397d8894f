"""The NuGet package keeps the rules of nuspec and of the Open Packaging Conventions; no client is at hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from build_tools.base.archive import parse_zip
from tests.integration.packaging.support import find_only

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NUSPEC = "{http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd}"
MSBUILD = "{http://schemas.microsoft.com/developer/msbuild/2003}"
# The elements of `metadata` in nuspec.xsd (NuGet/NuGet.Client); each at most once.
REQUIRED = {"id", "version", "description", "authors"}
ALLOWED = REQUIRED | {
    *(
        "title",
        "owners",
        "requireLicenseAcceptance",
        "license",
        "licenseUrl",
        "projectUrl",
        "iconUrl",
        "icon",
    ),
    *("readme", "developmentDependency", "summary", "releaseNotes", "copyright", "language", "tags"),
    *("serviceable", "repository", "packageTypes", "dependencies", "references", "contentFiles"),
}
DESCRIPTION_MAX = 4000
ID = re.compile(r"\w+([.-]\w+)*")


@pytest.fixture(scope="module")
def members(packages: Path) -> dict[str, bytes]:
    path = find_only(packages / "nuget", "*.nupkg")
    return {member.name: member.data for member in parse_zip(path.read_bytes(), path.name)}


def parse(text: bytes) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - written by us a moment ago


def metadata(members: dict[str, bytes]) -> dict[str, ET.Element]:
    (found,) = parse(members["Extism.Kernel.nuspec"])
    assert len({child.tag for child in found}) == len(found), "each element stands once"
    return {child.tag.removeprefix(NUSPEC): child for child in found}


def test_nuspec_keeps_its_schema(members: dict[str, bytes]) -> None:
    found = metadata(members)
    assert found.keys() >= REQUIRED
    assert found.keys() <= ALLOWED
    assert ID.fullmatch(found["id"].text or "")
    assert len(found["description"].text or "") <= DESCRIPTION_MAX
    assert found["license"].get("type") == "file"
    assert found["license"].text in members
    # Old clients read the URL; with a file it is this one, or the registry refuses the package.
    assert found["licenseUrl"].text == "https://aka.ms/deprecateLicenseUrl"


def test_nuspec_names_the_repository_and_a_readme_that_is_there(members: dict[str, bytes]) -> None:
    found = metadata(members)
    assert found["repository"].get("type") == "git"
    assert (found["repository"].get("url") or "").startswith("https://")
    assert (found["projectUrl"].text or "").startswith("https://")
    assert found["readme"].text in members


def test_file_is_named_after_id_and_version(packages: Path, members: dict[str, bytes]) -> None:
    found = metadata(members)
    name = f"{found['id'].text}.{found['version'].text}.nupkg"
    assert find_only(packages / "nuget", "*.nupkg").name == name


def test_every_part_has_a_content_type_and_the_manifest_a_relation(members: dict[str, bytes]) -> None:
    names = list(members)
    assert names[0] == "[Content_Types].xml"
    declared = {each.get("Extension") or each.get("PartName") for each in parse(members[names[0]])}
    for name in names[1:]:
        assert name.rsplit(".", 1)[-1] in declared or f"/{name}" in declared, name
    (relation,) = parse(members["_rels/.rels"])
    assert (relation.get("Target") or "").removeprefix("/") in members


def test_targets_are_named_after_the_package_and_embed_files_that_are_there(
    members: dict[str, bytes],
) -> None:
    """NuGet imports `build/ID.targets` and no other (NU5129)."""
    name = f"build/{metadata(members)['id'].text}.targets"
    assert [other for other in members if other.startswith("build/")] == [name]
    embedded = parse(members[name]).findall(f"{MSBUILD}ItemGroup/{MSBUILD}EmbeddedResource")
    included = {each.get("Include"): each.get("LogicalName") for each in embedded}
    here = "$(MSBuildThisFileDirectory)../"
    assert {(path or "").removeprefix(here) for path in included} == {
        other for other in members if other.startswith("kernel/")
    }
    assert all((path or "").endswith(f"/{logical}") for path, logical in included.items())
