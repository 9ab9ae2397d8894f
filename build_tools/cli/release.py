"""The commands from a staged kernel to the outside: sbom, wheel, reproduce, publish, package, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.archive import read_epoch
from build_tools.base.errors import (
    ContractError,
    ExitCode,
    FileMissingError,
    NotReproducibleError,
    NotStagedError,
)
from build_tools.base.files import make_folder, read_bounded, write_whole
from build_tools.base.findings import to_json
from build_tools.base.project import find_project
from build_tools.cli import release_version
from build_tools.cli.parsers import lazy
from build_tools.cli.release_report import (
    artifacts_to_data,
    published_to_data,
    render_artifacts,
    render_published,
    render_reproduction,
    reproduction_to_data,
)
from build_tools.ecosystems import ECOSYSTEMS
from build_tools.ecosystems.identity import read_identity
from build_tools.ecosystems.kernel import read_kernel
from build_tools.kernel.values import INFO_FILENAME
from build_tools.kernel.version import read_version
from build_tools.release.distributions import (
    build_distributions,
    read_any_release,
    read_artifact,
    read_distributions,
)
from build_tools.release.index import check_index_url, simple_url
from build_tools.release.known import remember
from build_tools.release.publish import attest, publish
from build_tools.release.reproduce import rebuilt_sums, reproduce
from build_tools.release.sbom import make_sbom, package_files
from extism_kernel_pkg import KernelCorruptError, command

if TYPE_CHECKING:
    import argparse

    from build_tools.cli.parsers import Subparsers

DIST = "dist"


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parsers of the commands in this module."""
    _add_builders(subparsers)
    _add_publish(subparsers)
    _add_package(subparsers)
    _add_verify(subparsers)
    release_version.add_parser(subparsers)


def _add_builders(subparsers: Subparsers) -> None:
    sbom = subparsers.add_parser("sbom", help="write the CycloneDX SBOM of the package with a staged kernel")
    sbom.add_argument("--kernel", type=Path, metavar="DIR", help="where it is staged; default: the package")
    sbom.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    sbom.set_defaults(command=_sbom)
    wheel = subparsers.add_parser(
        "wheel", help="build the sdist and wheel of the kernel, and of the suite, with their digests"
    )
    wheel.add_argument("--out", type=Path, metavar="DIR", help="default: dist/")
    wheel.add_argument("--prebuilt", type=Path, metavar="FILE", help="package this module; no compiler")
    wheel.add_argument("--json", action="store_true")
    wheel.set_defaults(command=_wheel)
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
    again.set_defaults(command=_reproduce)


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
    parser.set_defaults(command=_publish)
    sign = subparsers.add_parser(
        "attest", help="sign the artifacts with the release job's identity (PEP 740)"
    )
    sign.add_argument("--dist", type=Path, metavar="DIR", help="the artifacts; default: dist/")
    sign.set_defaults(command=_attest)


def _add_package(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("package", help="package the staged kernel for another ecosystem")
    parser.add_argument("ecosystem", choices=sorted(ECOSYSTEMS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: dist/")
    parser.add_argument(
        "--signatures", type=Path, metavar="DIR", help="detached signatures NAME.asc for Maven's bundle"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(command=_package)


def _add_verify(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "verify", help="find kernels in files and say whose each is, and in what state"
    )
    command.add_verify_arguments(parser)
    parser.set_defaults(command=_verify)
    record = subparsers.add_parser("remember", help="put a released wheel's digests into known_digests.json")
    record.add_argument("dist", type=Path, metavar="DIR", help="the folder of the released wheel and sdist")
    record.set_defaults(command=_remember)


def _sbom(args: argparse.Namespace) -> int:
    project = find_project()
    folder = args.kernel or project.package
    if not (folder / INFO_FILENAME).is_file():
        raise NotStagedError([INFO_FILENAME], where=str(folder))
    info = json.loads(read_bounded(folder / INFO_FILENAME))
    identity = read_identity(project.root / "pyproject.toml")
    document = make_sbom(info, package_files(project.package), identity)
    if args.out is None:
        print(document.decode(), end="")
    else:
        write_whole(args.out, document)
    return ExitCode.DONE


def _wheel(args: argparse.Namespace) -> int:
    project = find_project()
    out = args.out or project.root / DIST
    built = build_distributions(project, out, prebuilt=args.prebuilt)
    everything = [*built.artifacts, *built.suite]
    print(to_json(artifacts_to_data(everything)) if args.json else render_artifacts(everything))
    return ExitCode.DONE


def _reproduce(args: argparse.Namespace) -> int:
    if args.toolchains:
        return lazy("cli.kernel", "reproduce_toolchains")(args)
    result = reproduce(find_project(), prebuilt=args.prebuilt, against=args.against)
    if args.sums is not None:
        write_whole(args.sums, rebuilt_sums(result))
    print(to_json(reproduction_to_data(result)) if args.json else render_reproduction(result))
    if not result.is_equal:
        first = next(each.difference for each in result.comparisons if each.difference is not None)
        raise NotReproducibleError(f"two builds of the same sources differ: {first}")
    return ExitCode.DONE


def _publish(args: argparse.Namespace) -> int:
    project = find_project()
    index = check_index_url(args.index, "--index")
    simple = check_index_url(args.simple, "--simple") if args.simple else simple_url(index)
    folder = args.dist or project.root / DIST
    done = publish(
        project,
        read_distributions(folder, read_version(project.cargo_toml)),
        index=index,
        simple=simple,
        rebuilt=args.rebuilt,
        is_dry_run=args.dry_run,
        with_attestations=args.attestations,
    )
    print(to_json(published_to_data(done)) if args.json else render_published(done))
    return ExitCode.DONE


def _attest(args: argparse.Namespace) -> int:
    project = find_project()
    folder = args.dist or project.root / DIST
    for path in attest(read_distributions(folder, read_version(project.cargo_toml))):
        print(path)
    return ExitCode.DONE


def _package(args: argparse.Namespace) -> int:
    project = find_project()
    out = args.out or project.root / DIST
    found = [] if args.signatures is None else sorted(args.signatures.rglob("*.asc"))
    signatures = {path.stem: read_bounded(path) for path in found}
    kernel = read_kernel(project, epoch=read_epoch(), signatures=signatures)
    artifacts = []
    for member in ECOSYSTEMS[args.ecosystem](kernel):
        path = out / member.name
        make_folder(path.parent)
        write_whole(path, member.data)
        artifacts.append(read_artifact(path, name=member.name))
    print(to_json(artifacts_to_data(artifacts)) if args.json else render_artifacts(artifacts))
    return ExitCode.DONE


def _verify(args: argparse.Namespace) -> int:
    project = find_project()
    try:
        return command.run_verify(args, folder=project.package)
    except KernelCorruptError as error:
        raise ContractError([str(error)], where=project.package, hint="restore the file with git") from None
    except command.CommandError as error:
        raise FileMissingError(str(error)) from None


def _remember(args: argparse.Namespace) -> int:
    project = find_project()
    built = read_any_release(args.dist)
    print(remember(project, built.info))
    return ExitCode.DONE
