"""What the tests of publishing share: how a release is changed, and what an index wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip, parse_zip
from build_tools.release.wheelfile import normalise_wheel
from tests.integration.packaging.package_index import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.packaging.support import Release

CREDENTIALS = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
REFUSED = 8


def rewrite(release: Release, change: Callable[[list[Member]], list[Member]]) -> None:
    """Change members of a release's wheel; RECORD is written anew."""
    members = change(parse_zip(release.wheel.read_bytes(), release.wheel.name))
    release.wheel.write_bytes(
        normalise_wheel(make_zip(members, epoch=0), release.wheel.name, epoch=0, links="")
    )


def replace(name: str, old: bytes, new: bytes) -> Callable[[list[Member]], list[Member]]:
    def change(members: list[Member]) -> list[Member]:
        assert any(member.name.endswith(name) and old in member.data for member in members)
        return [
            Member(
                name=member.name,
                data=member.data.replace(old, new) if member.name.endswith(name) else member.data,
            )
            for member in members
        ]

    return change
