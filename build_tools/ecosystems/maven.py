"""The Maven artifact `org.extism:extism-kernel`: a file repository, and the bundle that Central takes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_zip
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

COORDINATES = "org/extism/extism-kernel"
RESOURCES = "META-INF/extism/"
MANIFEST = "META-INF/MANIFEST.MF"
POM = "META-INF/maven/org.extism/extism-kernel/pom.xml"
CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
SIGNATURE = ".asc"


def make_files(kernel: Kernel) -> list[Member]:
    """Return `repository/`, which Maven reads as `file://...`, and the same as a zip for Central's portal.

    Central wants a detached signature of each file, which only its owner can make: those among the kernel's
    `signatures` go in beside what they sign.
    """
    templates = fill_templates("maven", kernel)
    resources = [each for each in templates if each.name.startswith("META-INF/")]
    pom = next(each for each in templates if each.name == POM)
    manifest = next(each for each in templates if each.name == MANIFEST)
    modules = [each for each in kernel.files if each.name.endswith(".wasm")]
    page = next(each for each in templates if each.name == "index.html")
    jars = {
        # The modules are at the root, too: there chicory-sdk looks for a kernel, and takes this one.
        "": [*kernel.members(RESOURCES), *modules, *resources],
        "-sources": [*kernel.sources, kernel.license, manifest],
        "-javadoc": [page, kernel.license, manifest],
    }
    stem = f"extism-kernel-{kernel.version}"
    artifacts = [Member(name=f"{stem}.pom", data=pom.data)]
    artifacts += [Member(name=f"{stem}{kind}.jar", data=_make_jar(of, kernel)) for kind, of in jars.items()]
    folder = f"{COORDINATES}/{kernel.version}/"
    files = [Member(name=folder + each.name, data=each.data) for each in _surround(artifacts, kernel)]
    return [
        *(Member(name=f"repository/{each.name}", data=each.data) for each in files),
        Member(name=f"{stem}-bundle.zip", data=make_zip(files, epoch=kernel.epoch)),
    ]


def _make_jar(members: Iterable[Member], kernel: Kernel) -> bytes:
    # The manifest comes first: java.util.jar.JarInputStream looks nowhere else.
    ordered = sorted(members, key=lambda member: (member.name != MANIFEST, member.name))
    return make_zip(ordered, epoch=kernel.epoch)


def _surround(artifacts: Iterable[Member], kernel: Kernel) -> Iterator[Member]:
    """Yield each artifact, its signature if there is one, and its checksums."""
    for artifact in artifacts:
        yield artifact
        signature = kernel.signatures.get(artifact.name)
        if signature is not None:
            yield Member(name=f"{artifact.name}{SIGNATURE}", data=signature)
        for algorithm in CHECKSUMS:
            digest = hashlib.new(algorithm, artifact.data, usedforsecurity=False).hexdigest()
            yield Member(name=f"{artifact.name}.{algorithm}", data=digest.encode())
