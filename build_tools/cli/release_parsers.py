"""The parsers of the commands from a staged kernel to the outside: the commands are in `release`.

Those that package, sign and upload import many libraries, which no other command should wait for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.cli.parsers import lazy

if TYPE_CHECKING:
    from build_tools.cli.parsers import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parsers of the commands in this module."""
    _add_builders(subparsers)
    _add_publish(subparsers)
    _add_package(subparsers)
    _add_verify(subparsers)
    _add_release(subparsers)


def _add_builders(subparsers: Subparsers) -> None:
    sbom = subparsers.add_parser("sbom", help="write the CycloneDX SBOM of the package with a staged kernel")
    sbom.add_argument("--kernel", type=Path, metavar="DIR", help="where it is staged; default: the package")
    sbom.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    sbom.set_defaults(command=lazy("cli.release", "sbom"))
    wheel = subparsers.add_parser(
        "wheel", help="build the sdist and wheel of the kernel, and of the suite, with their digests"
    )
    wheel.add_argument("--out", type=Path, metavar="DIR", help="default: dist/")
    wheel.add_argument("--prebuilt", type=Path, metavar="FILE", help="package this module; no compiler")
    wheel.add_argument("--json", action="store_true")
    wheel.set_defaults(command=lazy("cli.release", "wheel"))
    again = subparsers.add_parser("reproduce", help="build twice under different conditions and compare")
    again.add_argument("--prebuilt", type=Path, metavar="FILE", help="compare packaging only; no compiler")
    again.add_argument("--against", type=Path, metavar="DIR", help="build once, compare with this release")
    again.add_argument("--sums", type=Path, metavar="FILE", help="write the second build's SHA256SUMS there")
    again.add_argument(
        "--toolchains",
        action="store_true",
        help="compile the kernel with every compiler that the machine can have, and compare",
    )
    again.add_argument("--offline", action="store_true", help="with --toolchains: download nothing")
    again.add_argument("--json", action="store_true")
    again.set_defaults(command=lazy("cli.release", "reproduce"))


def _add_publish(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("publish", help="check a release and upload it with twine")
    parser.add_argument("--index", required=True, metavar="URL", help="where uploads go")
    parser.add_argument("--simple", metavar="URL", help="where the index is read; default: INDEX/simple")
    parser.add_argument("--dist", type=Path, metavar="DIR", help="the artifacts; default: dist/")
    parser.add_argument(
        "--rebuilt", type=Path, metavar="FILE", help="SHA256SUMS of a second build (`reproduce --sums`)"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, upload nothing")
    parser.add_argument(
        "--attestations", action="store_true", help="upload what `attest` made, too (PEP 740)"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=lazy("cli.release", "publish"))
    sign = subparsers.add_parser(
        "attest", help="sign the artifacts with the release job's identity (PEP 740)"
    )
    sign.add_argument("--dist", type=Path, metavar="DIR", help="the artifacts; default: dist/")
    sign.set_defaults(command=lazy("cli.release", "attest"))


def _add_package(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("package", help="package the staged kernel for another ecosystem")
    parser.fill_later(lazy("cli.release", "add_package_arguments"))
    parser.set_defaults(command=lazy("cli.release", "package"))


def _add_verify(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "verify", help="find kernels in files and say whose each is, and in what state"
    )
    parser.fill_later(lazy("cli.verify", "add_arguments"))
    parser.set_defaults(command=lazy("cli.verify", "verify"))
    record = subparsers.add_parser("remember", help="put a released wheel's digests into known_digests.json")
    record.add_argument("dist", type=Path, metavar="DIR", help="the folder of the released wheel and sdist")
    record.set_defaults(command=lazy("cli.release", "remember"))


def _add_release(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("release", help="commit and tag a version, or open the version after it")
    parser.add_argument("version", nargs="?", metavar="X.Y.Z", help="also X.Y.Z-(alpha|beta|rc).N")
    parser.add_argument("--next", action="store_true", help="after a release: open the next version")
    parser.add_argument("--notes", action="store_true", help="print what CHANGELOG.md says of the version")
    parser.add_argument("--dry-run", action="store_true", help="do all but the commit and the tag")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=lazy("cli.release_version", "release"))
