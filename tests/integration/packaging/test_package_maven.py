"""The Maven artifact has what Central wants, Maven takes it, and chicory-sdk runs on the kernel inside it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from wasmtime import wat2wasm

from build_tools.base import files
from tests.integration.packaging.clients import need
from tests.integration.packaging.support import BuildTools, digest, find_only, run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

JDK = "apt-get install default-jdk-headless"
CHICORY_SDK = "0.2.0"
NAMESPACE = {"m": "http://maven.apache.org/POM/4.0.0"}
# Central's requirements for a POM.
WANTED_BY_CENTRAL = (
    *("groupId", "artifactId", "version", "name", "description", "url"),
    *("licenses/license/name", "licenses/license/url"),
    *("developers/developer/name", "developers/developer/organization"),
    *("scm/connection", "scm/developerConnection", "scm/url"),
)
USE = """
import java.security.MessageDigest;
public class Use {
    public static void main(String[] args) throws Exception {
        for (String name : args) {
            var stream = Use.class.getResourceAsStream(name);
            var digest = MessageDigest.getInstance("SHA-256").digest(stream.readAllBytes());
            System.out.printf("%064x%n", new java.math.BigInteger(1, digest));
        }
    }
}
"""
# The answer of a plug-in, the version that the kernel beneath it carries, and where that came from.
PLAY = """
import org.extism.sdk.chicory.*;
public class Play {
    public static void main(String[] args) throws Exception {
        var wasm = ManifestWasm.fromBytes(java.util.Base64.getDecoder().decode(args[0])).build();
        var plugin = Plugin.ofManifest(Manifest.ofWasms(wasm).build()).build();
        System.out.println(new String(plugin.call("echo", "to and fro".getBytes())));
        System.out.println(Plugin.class.getClassLoader().getResource("extism-runtime.wasm"));
    }
}
"""
ECHO = """
(module
  (import "extism:host/env" "input_length" (func $length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "echo") (result i32) (local $at i64) (local $block i64)
    (local.set $block (call $alloc (call $length)))
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $at) (call $length)))
        (call $store (i64.add (local.get $block) (local.get $at)) (call $load (local.get $at)))
        (local.set $at (i64.add (local.get $at) (i64.const 1)))
        (br $next)))
    (call $output (local.get $block) (call $length))
    (i32.const 0)))
"""


@pytest.fixture(scope="module")
def folder(packages: Path) -> Path:
    """The folder of the one version in the file repository."""
    return find_only(packages / "maven", "repository/org/extism/extism-kernel/*")


def artifacts(folder: Path) -> dict[str, Path]:
    stem = f"extism-kernel-{folder.name}"
    return {kind: folder / f"{stem}{kind}" for kind in (".pom", ".jar", "-sources.jar", "-javadoc.jar")}


def test_pom_has_what_central_wants(folder: Path) -> None:
    pom = ET.parse(artifacts(folder)[".pom"]).getroot()  # noqa: S314 - written by us a moment ago
    for path in WANTED_BY_CENTRAL:
        found = pom.find("/".join(f"m:{part}" for part in path.split("/")), NAMESPACE)
        assert found is not None, path
        assert (found.text or "").strip(), path


def test_every_artifact_is_there_with_its_checksums(folder: Path) -> None:
    for path in artifacts(folder).values():
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            want = hashlib.new(algorithm, path.read_bytes()).hexdigest()
            assert path.with_name(f"{path.name}.{algorithm}").read_text() == want


def test_bundle_is_the_repository_as_a_zip(packages: Path) -> None:
    root = packages / "maven" / "repository"
    with zipfile.ZipFile(find_only(packages / "maven", "*-bundle.zip")) as bundle:
        assert bundle.testzip() is None
        inside = {name: bundle.read(name) for name in bundle.namelist()}
    files = [path for path in root.rglob("*") if path.is_file()]
    assert inside == {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_signatures_go_into_the_bundle_beside_what_they_sign(
    tree: Path, folder: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    (tmp_path / "signed").mkdir()
    for path in artifacts(folder).values():
        (tmp_path / "signed" / f"{path.name}.asc").write_text(f"signature of {path.name}")
    build_tools(tree, "package", "maven", "--out", tmp_path / "out", "--signatures", tmp_path / "signed")
    with zipfile.ZipFile(find_only(tmp_path / "out", "*-bundle.zip")) as bundle:
        for path in artifacts(folder).values():
            name = f"org/extism/extism-kernel/{folder.name}/{path.name}"
            assert bundle.read(f"{name}.asc").decode() == f"signature of {path.name}"
            assert bundle.read(name) == path.read_bytes(), "a signature changes nothing that is signed"


def test_jar_starts_with_its_manifest_and_configures_native_image(folder: Path) -> None:
    with zipfile.ZipFile(artifacts(folder)[".jar"]) as archive:
        names = archive.namelist()
        (config,) = [name for name in names if name.endswith("resource-config.json")]
        patterns = [entry["pattern"] for entry in json.loads(archive.read(config))["resources"]["includes"]]
    assert names[0] == "META-INF/MANIFEST.MF"
    assert config.startswith("META-INF/native-image/")
    wanted = [name for name in names if name.endswith((".wasm", "kernel_info.json"))]
    assert sorted(pattern.removeprefix("\\Q").removesuffix("\\E") for pattern in patterns) == sorted(wanted)


def test_pom_is_the_one_inside_the_jar(folder: Path) -> None:
    with zipfile.ZipFile(artifacts(folder)[".jar"]) as archive:
        inside = archive.read("META-INF/maven/org.extism/extism-kernel/pom.xml")
    assert inside == artifacts(folder)[".pom"].read_bytes()


def test_sources_are_those_of_the_kernel(folder: Path, tree: Path) -> None:
    with zipfile.ZipFile(artifacts(folder)["-sources.jar"]) as archive:
        names = [name for name in archive.namelist() if name.startswith("kernel-src/src/")]
        assert {f"kernel-src/src/{path.name}" for path in (tree / "kernel-src/src").glob("*.rs")} == set(
            names
        )
        for name in names:
            assert archive.read(name) == (tree / name).read_bytes()


def test_java_reads_the_jars(folder: Path) -> None:
    jar = need("jar", JDK)
    for kind, path in artifacts(folder).items():
        if kind.endswith(".jar"):
            assert "META-INF/MANIFEST.MF" in run(jar, "--list", "--file", path, cwd=folder).stdout
    described = run(jar, "--describe-module", "--file", artifacts(folder)[".jar"], cwd=folder).stdout
    assert "org.extism.kernel" in described


def make_project(folder: Path, repository: Path, version: str, dependencies: str = "") -> Path:
    (folder / "pom.xml").write_text(
        f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>use</groupId><artifactId>use</artifactId><version>1</version>
  <repositories><repository>
    <id>ours</id><url>{repository.as_uri()}</url>
    <releases><checksumPolicy>fail</checksumPolicy></releases>
  </repository></repositories>
  <dependencies>
    <dependency>
      <groupId>org.extism</groupId><artifactId>extism-kernel</artifactId><version>{version}</version>
    </dependency>{dependencies}
  </dependencies>
</project>"""
    )
    return folder


@pytest.fixture
def local_repository() -> Iterator[Path]:
    """The user's local repository, which other workers resolve into as well: for one test at a time."""
    folder = Path.home() / ".m2" / "repository"
    with files.lock(folder.parent / "extism-kernel-tests.lock"):
        yield folder


def resolve(project: Path, local_repository: Path, tmp_path: Path) -> str:
    """Return the class path that Maven resolves for a project, without our artifact of an earlier run."""
    mvn = need("mvn", "apt-get install maven")
    need("javac", JDK)
    shutil.rmtree(local_repository / "org/extism/extism-kernel", ignore_errors=True)
    path = tmp_path / "classpath"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.7.1:build-classpath"
    done = run(mvn, "-q", "-B", goal, f"-Dmdep.outputFile={path}", cwd=project, check=False)
    if done.returncode != 0 and "extism-kernel" not in done.stdout and "ransfer" in done.stdout:
        pytest.skip(f"Maven cannot reach its registry: {done.stdout[-300:]}")
    assert done.returncode == 0, done.stdout
    return path.read_text()


def test_project_gets_the_kernel_through_maven(
    folder: Path, packages: Path, kernel: Path, local_repository: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path, packages / "maven" / "repository", folder.name)
    classpath = resolve(project, local_repository, tmp_path)
    (tmp_path / "Use.java").write_text(USE)
    names = ["extism-runtime.wasm", "extism-runtime-core.wasm"]
    asked = [f"/META-INF/extism/{name}" for name in names] + [f"/{name}" for name in names]
    printed = run("java", "-cp", classpath, "Use.java", *asked, cwd=tmp_path).stdout.split()
    assert printed == [digest(kernel / name) for name in names] * 2


def test_altered_artifact_is_refused_by_maven(
    folder: Path, packages: Path, local_repository: Path, tmp_path: Path
) -> None:
    repository = Path(shutil.copytree(packages / "maven" / "repository", tmp_path / "repository"))
    jar = find_only(repository, "**/extism-kernel-*[0-9].jar")
    jar.write_bytes(jar.read_bytes() + b"\0")
    project = make_project(tmp_path, repository, folder.name)
    with pytest.raises(AssertionError, match=r"[Cc]hecksum"):
        resolve(project, local_repository, tmp_path)


def test_kernel_takes_the_place_of_chicory_sdks_own(
    folder: Path, packages: Path, local_repository: Path, tmp_path: Path
) -> None:
    sdk = "".join(
        f"<dependency><groupId>org.extism.sdk</groupId><artifactId>{name}</artifactId>"
        f"<version>{CHICORY_SDK}</version></dependency>"
        for name in ("chicory-sdk-core", "http-json-jackson", "http-client-javanet")
    )
    project = make_project(tmp_path, packages / "maven" / "repository", folder.name, sdk)
    classpath = resolve(project, local_repository, tmp_path)
    assert "extism-kernel" in classpath.split(os.pathsep)[0], "it was declared first"
    (tmp_path / "Play.java").write_text(PLAY)
    plugin = base64.b64encode(bytes(wat2wasm(ECHO))).decode()
    printed = run("java", "-cp", classpath, "Play.java", plugin, cwd=tmp_path).stdout.splitlines()
    assert printed[0] == "to and fro"
    assert f"extism-kernel-{folder.name}.jar!/extism-runtime.wasm" in printed[1]
