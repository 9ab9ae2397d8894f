"""Wheels and sdists as lists of members: normalised when built, checked before they are released.

Outside the kernel contract. The wheel's format is the binary distribution format of the PyPA
specifications; SBOMs lie where PEP 770 puts them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from email.parser import BytesParser
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_tar_gz, make_zip, parse_tar_gz, parse_zip
from build_tools.base.errors import InvalidArchiveError
from build_tools.base.findings import Finding
from build_tools.release.readme import absolute_links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["check_wheel", "find_member", "normalise_sdist", "normalise_wheel", "sbom_name"]

PACKAGE = "extism_kernel_pkg"
EXPECTED_TAG = "py3-none-any"
REQUIRED_IN_PACKAGE = (
    "__init__.py",
    "extism-runtime-core.wasm",
    "extism-runtime.wasm",
    "kernel_info.json",
    "known_digests.json",
    "py.typed",
)
REQUIRED_IN_DIST_INFO = (
    "METADATA",
    "RECORD",
    "WHEEL",
    "entry_points.txt",
    "licenses/LICENSE",
    "sboms/extism-kernel.cdx.json",
)
GENERATOR = "build_tools.release.backend"
PKG_INFO = re.compile(r"[^/]+/PKG-INFO")
DATA_SUFFIXES = (".py", ".pyi", ".json", ".wasm", ".typed")


def sbom_name(dist_info: str) -> str:
    """Return the member name of the SBOM in a wheel with this .dist-info folder."""
    return f"{dist_info}/sboms/extism-kernel.cdx.json"


def normalise_wheel(data: bytes, where: str, *, epoch: int, links: str) -> bytes:
    """Return the same wheel with its members sorted, packed and dated, and RECORD written anew and last.

    The description's relative links lead below `links`, and WHEEL names this as what wrote the archive: the
    version of scikit-build-core, which stood there, decides nothing else.
    """
    members = {member.name: member for member in parse_zip(data, where)}
    dist_info = _dist_info(members, where)
    record = f"{dist_info}/RECORD"
    members.pop(record, None)
    for name, change in (("METADATA", lambda text: _link(text, links)), ("WHEEL", _name_generator)):
        member = members.get(f"{dist_info}/{name}")
        if member is not None:
            members[member.name] = Member(name=member.name, data=change(member.data))
    # The specification recommends that .dist-info comes physically last.
    names = sorted(members, key=lambda name: (name.startswith(f"{dist_info}/"), name))
    ordered = [members[name] for name in names]
    ordered.append(Member(name=record, data=_make_record(ordered, record)))
    return make_zip(ordered, epoch=epoch)


def normalise_sdist(data: bytes, where: str, *, epoch: int, links: str) -> bytes:
    """Return the same sdist with its members sorted, packed and dated, and PKG-INFO's links below `links`."""
    members = [
        Member(name=each.name, data=_link(each.data, links)) if PKG_INFO.fullmatch(each.name) else each
        for each in parse_tar_gz(data, where)
    ]
    return make_tar_gz(sorted(members, key=lambda member: member.name), epoch=epoch)


def _link(metadata: bytes, links: str) -> bytes:
    headers, blank, description = metadata.decode().partition("\n\n")
    return f"{headers}{blank}{absolute_links(description, links)}".encode()


def _name_generator(text: bytes) -> bytes:
    return re.sub(rb"(?m)^Generator: .*$", f"Generator: {GENERATOR}".encode(), text)


def find_member(members: Sequence[Member], name: str) -> Member | None:
    """Return the member with this name, or None."""
    return next((member for member in members if member.name == name), None)


def check_wheel(members: Sequence[Member], *, version: str) -> Iterator[Finding]:
    """Yield a finding for each way in which a wheel's members are not what a release holds.

    `version` is in wheel spelling (`1.0.0rc1`). Whether the SBOM and the kernel are what they should be is
    asked elsewhere; this is about which files there are, RECORD, the tag and the version.
    """
    dist_info = f"extism_kernel-{version}.dist-info"
    required = {f"{PACKAGE}/{name}" for name in REQUIRED_IN_PACKAGE}
    required |= {f"{dist_info}/{name}" for name in REQUIRED_IN_DIST_INFO}
    names = {member.name for member in members}
    for name in sorted(required - names):
        yield Finding(code="wheel-member-missing", where=name, message=f"`{name}` is not in the wheel")
    for name in sorted(names - required):
        if not _is_expected(name, dist_info):
            message = f"`{name}` does not belong in the wheel"
            yield Finding(code="wheel-member-unexpected", where=name, message=message)
    yield from _check_record(members, f"{dist_info}/RECORD")
    yield from _check_tag(members, f"{dist_info}/WHEEL")
    yield from _check_metadata(members, f"{dist_info}/METADATA", version)


def _is_expected(name: str, dist_info: str) -> bool:
    if name.startswith(f"{dist_info}/licenses/"):
        return True
    in_package = re.fullmatch(rf"{PACKAGE}/(?:[a-z_][a-z0-9_]*/)*[A-Za-z0-9_.-]+", name) is not None
    return in_package and "__pycache__" not in name and name.endswith(DATA_SUFFIXES)


def _dist_info(members: dict[str, Member], where: str) -> str:
    folders = {name.split("/")[0] for name in members if name.split("/")[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise InvalidArchiveError("wheel", where, f"it holds {len(folders)} .dist-info folders")
    return folders.pop()


def _record_digest(data: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={encoded.rstrip(b'=').decode('ascii')}"


def _make_record(members: Sequence[Member], record: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((member.name, _record_digest(member.data), len(member.data)) for member in members)
    writer.writerow((record, "", ""))
    return text.getvalue().encode()


def _check_record(members: Sequence[Member], record: str) -> Iterator[Finding]:
    member = find_member(members, record)
    if member is None:
        return
    rows = {row[0]: row for row in csv.reader(io.StringIO(member.data.decode("utf-8", "replace"))) if row}
    for other in members:
        want = [other.name, _record_digest(other.data), str(len(other.data))]
        if other.name != record and rows.get(other.name) != want:
            message = f"RECORD does not hold the digest and size of `{other.name}`"
            yield Finding(code="wheel-record-differs", where=record, message=message)
    for name in sorted(rows.keys() - {other.name for other in members}):
        message = f"RECORD lists `{name}`, which is absent"
        yield Finding(code="wheel-record-differs", where=record, message=message)


def _check_tag(members: Sequence[Member], where: str) -> Iterator[Finding]:
    member = find_member(members, where)
    if member is None:
        return
    headers = BytesParser().parsebytes(member.data)
    tags = headers.get_all("Tag", [])
    if tags != [EXPECTED_TAG] or headers["Root-Is-Purelib"] != "true":
        message = f"the tags are {', '.join(tags) or 'absent'}, they should be {EXPECTED_TAG}, pure"
        yield Finding(code="wheel-tag-unexpected", where=where, message=message)


def _check_metadata(members: Sequence[Member], where: str, version: str) -> Iterator[Finding]:
    member = find_member(members, where)
    if member is None:
        return
    found = BytesParser().parsebytes(member.data)["Version"]
    if found != version:
        message = f"METADATA says version {found}, kernel-src/Cargo.toml says {version}"
        yield Finding(code="version-differs", where=where, message=message)
