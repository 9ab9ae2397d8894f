"""The commands from a staged kernel to the outside: sbom, wheel, reproduce, publish, package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base.archive import read_epoch
from build_tools.base.errors import (
    ExitCode,
    NotReproducibleError,
    NotStagedError,
)
from build_tools.base.files import make_folder, read_bounded, write_whole
from build_tools.base.findings import to_json
from build_tools.base.project import find_project
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
from build_tools.release.known import remember as remember_release
from build_tools.release.publish import attest as attest_release
from build_tools.release.publish import publish as publish_release
from build_tools.release.reproduce import rebuilt_sums
from build_tools.release.reproduce import reproduce as reproduce_release
from build_tools.release.sbom import make_sbom, package_files

if TYPE_CHECKING:
    import argparse

DIST = "dist"


def add_package_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `package` takes."""
    parser.add_argument("ecosystem", choices=sorted(ECOSYSTEMS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: dist/")
    parser.add_argument(
        "--signatures", type=Path, metavar="DIR", help="detached signatures NAME.asc for Maven's bundle"
    )
    parser.add_argument("--json", action="store_true")


def sbom(args: argparse.Namespace) -> int:
    """Write the SBOM of the package with a staged kernel."""
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


def wheel(args: argparse.Namespace) -> int:
    """Build the distributions of a release."""
    project = find_project()
    out = args.out or project.root / DIST
    built = build_distributions(project, out, prebuilt=args.prebuilt)
    everything = [*built.artifacts, *built.suite]
    print(to_json(artifacts_to_data(everything)) if args.json else render_artifacts(everything))
    return ExitCode.DONE


def reproduce(args: argparse.Namespace) -> int:
    """Build twice and compare. Raises `NotReproducibleError` for a difference."""
    if args.toolchains:
        code: int = lazy("cli.kernel", "reproduce_toolchains")(args)
        return code
    result = reproduce_release(find_project(), prebuilt=args.prebuilt, against=args.against)
    if args.sums is not None:
        write_whole(args.sums, rebuilt_sums(result))
    print(to_json(reproduction_to_data(result)) if args.json else render_reproduction(result))
    if not result.is_equal:
        first = next(each.difference for each in result.comparisons if each.difference is not None)
        raise NotReproducibleError(f"two builds of the same sources differ: {first}")
    return ExitCode.DONE


def publish(args: argparse.Namespace) -> int:
    """Check a release and upload it."""
    project = find_project()
    index = check_index_url(args.index, "--index")
    simple = check_index_url(args.simple, "--simple") if args.simple else simple_url(index)
    folder = args.dist or project.root / DIST
    done = publish_release(
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


def attest(args: argparse.Namespace) -> int:
    """Sign the artifacts of a release, and print the paths of the attestations."""
    project = find_project()
    folder = args.dist or project.root / DIST
    for path in attest_release(read_distributions(folder, read_version(project.cargo_toml))):
        print(path)
    return ExitCode.DONE


def package(args: argparse.Namespace) -> int:
    """Write the packages of one ecosystem."""
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


def remember(args: argparse.Namespace) -> int:
    """Record the digests of a released wheel."""
    project = find_project()
    built = read_any_release(args.dist)
    print(remember_release(project, built.info))
    return ExitCode.DONE
