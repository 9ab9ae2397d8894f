"""Each ecosystem's package is the same bytes twice, holds the kernel unchanged, and works in its place."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from typing import TYPE_CHECKING

import pytest

from build_tools.base.archive import parse_tar_gz, parse_zip
from build_tools.base.files import sha256_of
from build_tools.release.wheelfile import find_member
from tests.integration.packaging.support import digest, run

if TYPE_CHECKING:
    from pathlib import Path

    from build_tools.base.archive import Member
    from tests.integration.packaging.support import BuildTools

pytestmark = pytest.mark.slow

ECOSYSTEMS = ("npm", "maven", "crate", "go", "nuget")
ARCHIVES = {"npm": "*.tgz", "maven": "*.jar", "crate": "*.crate", "go": "proxy/**/*.zip", "nuget": "*.nupkg"}


def need(program: str, install: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no `{program}` here (mend it with `{install}`)")
    return found


@pytest.fixture(scope="module")
def tree(checkout: Path, kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a staged kernel."""
    tree = tmp_path_factory.mktemp("package") / "tree"
    shutil.copytree(checkout, tree)
    for name in ("extism-runtime.wasm", "extism-runtime-core.wasm", "kernel_info.json"):
        shutil.copy(kernel / name, tree / "extism_kernel_pkg" / name)
    return tree


@pytest.fixture(scope="module")
def packages(tree: Path, build_tools: BuildTools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each ecosystem."""
    out = tmp_path_factory.mktemp("packages")
    # rustup's `cargo` is on PATH also where it has no toolchain to run.
    cargo = need("cargo", "rustup toolchain install stable")
    if subprocess.run([cargo, "--version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("`cargo` does not run here (mend it with `rustup default stable`)")
    for name in ECOSYSTEMS:
        build_tools(tree, "package", name, "--out", out / name)
    return out


def parse_xml(text: bytes) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - written by us a moment ago


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def read_members(path: Path) -> list[Member]:
    parse = parse_tar_gz if path.suffix in {".tgz", ".crate"} else parse_zip
    return parse(path.read_bytes(), path.name)


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_package_is_the_same_bytes_twice(
    name: str, packages: Path, tree: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    env = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "TMPDIR": str(tmp_path)}
    done = build_tools(tree, "package", name, "--json", "--out", tmp_path / "again", env=env)
    again = {entry["name"]: entry["sha256"] for entry in json.loads(done.stdout)}
    first = {
        path.relative_to(packages / name).as_posix(): digest(path)
        for path in (packages / name).rglob("*")
        if path.is_file()
    }
    assert again == first


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_package_holds_the_kernel_the_info_and_the_licence(name: str, packages: Path, kernel: Path) -> None:
    members = read_members(only(packages / name, ARCHIVES[name]))
    digests = {member.name.rsplit("/", 1)[-1]: sha256_of(member.data) for member in members}
    info = json.loads((kernel / "kernel_info.json").read_bytes())
    for flavour in info["flavours"].values():
        assert digests[flavour["file"]] == flavour["sha256"] == digest(kernel / flavour["file"])
    assert digests["kernel_info.json"] == digest(kernel / "kernel_info.json")
    assert "LICENSE" in digests


def test_npm_package_installs_and_gives_the_kernel(packages: Path, kernel: Path, tmp_path: Path) -> None:
    npm, node = need("npm", "apt-get install npm"), need("node", "apt-get install nodejs")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    tarball = only(packages / "npm", "*.tgz")
    run(npm, "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", tarball, cwd=tmp_path)
    (tmp_path / "use.js").write_text(
        """
        import { readFile } from "node:fs/promises";
        import { createHash } from "node:crypto";
        import { contextUrl, coreUrl } from "extism-kernel";
        for (const url of [contextUrl, coreUrl]) {
            const data = await readFile(url);
            const { instance } = await WebAssembly.instantiate(data, {});
            if (instance.exports.alloc(8n) === 0n) throw new Error("no memory");
            console.log(createHash("sha256").update(data).digest("hex"));
        }
        """
    )
    printed = run(node, "use.js", cwd=tmp_path).stdout.split()
    assert printed == [digest(kernel / "extism-runtime.wasm"), digest(kernel / "extism-runtime-core.wasm")]


def test_npm_packs_the_package_again_without_complaint(packages: Path, tmp_path: Path) -> None:
    npm = need("npm", "apt-get install npm")
    done = run(npm, "pack", "--json", "--dry-run", only(packages / "npm", "*.tgz"), cwd=tmp_path)
    (packed,) = json.loads(done.stdout)
    names = {entry["path"] for entry in packed["files"]}
    assert {"extism-runtime.wasm", "extism-runtime-core.wasm", "index.js", "package.json", "LICENSE"} <= names


def test_jar_gives_the_kernel_as_a_resource(packages: Path, kernel: Path, tmp_path: Path) -> None:
    java = need("java", "apt-get install default-jdk-headless")
    need("javac", "apt-get install default-jdk-headless")
    (tmp_path / "Use.java").write_text(
        """
        import java.security.MessageDigest;
        public class Use {
            public static void main(String[] args) throws Exception {
                var stream = Use.class.getResourceAsStream("/META-INF/extism/extism-runtime.wasm");
                var digest = MessageDigest.getInstance("SHA-256").digest(stream.readAllBytes());
                System.out.printf("%064x%n", new java.math.BigInteger(1, digest));
            }
        }
        """
    )
    jar = only(packages / "maven", "*.jar")
    done = run(java, "-cp", jar, "Use.java", cwd=tmp_path)
    assert done.stdout.strip() == digest(kernel / "extism-runtime.wasm")


def test_jar_starts_with_its_manifest_and_configures_native_image(packages: Path) -> None:
    with zipfile.ZipFile(only(packages / "maven", "*.jar")) as archive:
        names = archive.namelist()
        (config,) = [name for name in names if name.endswith("resource-config.json")]
        patterns = [entry["pattern"] for entry in json.loads(archive.read(config))["resources"]["includes"]]
    assert names[0] == "META-INF/MANIFEST.MF"
    assert config.startswith("META-INF/native-image/")
    assert sorted(pattern.removeprefix("\\Q").removesuffix("\\E") for pattern in patterns) == sorted(
        name for name in names if name.startswith("META-INF/extism/") and not name.endswith("LICENSE")
    )


def test_pom_is_the_one_inside_the_jar(packages: Path) -> None:
    pom = only(packages / "maven", "*.pom").read_bytes()
    inside = find_member(
        read_members(only(packages / "maven", "*.jar")), "META-INF/maven/org.extism/extism-kernel/pom.xml"
    )
    assert inside is not None
    assert inside.data == pom
    assert parse_xml(pom).tag.endswith("project")


def test_crate_embeds_the_kernel(packages: Path, kernel: Path, tmp_path: Path) -> None:
    cargo = need("cargo", "rustup toolchain install stable")
    (source,) = [path for path in (packages / "crate").iterdir() if path.is_dir()]
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text(
        '[package]\nname = "use-it"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
        f'[dependencies]\nextism-kernel-wasm = {{ path = "{source}" }}\n'
    )
    (tmp_path / "src" / "main.rs").write_text(
        "use std::io::Write;\n"
        "fn main() { std::io::stdout().write_all(extism_kernel_wasm::CONTEXT).unwrap(); }\n"
    )
    env = {"CARGO_TARGET_DIR": str(tmp_path / "target")}
    run(cargo, "build", "--offline", "--quiet", cwd=tmp_path, env=env)
    run("sh", "-c", "target/debug/use-it > out.wasm", cwd=tmp_path)
    assert digest(tmp_path / "out.wasm") == digest(kernel / "extism-runtime.wasm")


def test_go_module_is_fetched_from_its_proxy_files(packages: Path, kernel: Path, tmp_path: Path) -> None:
    go = need("go", "apt-get install golang")
    proxy = packages / "go" / "proxy"
    module = (packages / "go" / "extism-kernel-go" / "go.mod").read_text().split()[1]
    version = only(proxy, "**/*.zip").stem
    env = {
        "GOPROXY": proxy.as_uri(),
        "GONOSUMDB": "*",
        "GONOSUMCHECK": "1",
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOMODCACHE": str(tmp_path / "cache"),
        "GOTOOLCHAIN": "local",
    }
    (tmp_path / "go.mod").write_text(f"module use\n\ngo 1.18\n\nrequire {module} {version}\n")
    (tmp_path / "main.go").write_text(
        f'package main\n\nimport (\n\t"os"\n\tkernel "{module}"\n)\n\n'
        'func main() { os.Stdout.Write(kernel.Context); if kernel.Version == "" { os.Exit(1) } }\n'
    )
    run(go, "build", "-o", "use-it", ".", cwd=tmp_path, env=env)
    run("sh", "-c", "./use-it > out.wasm", cwd=tmp_path)
    assert digest(tmp_path / "out.wasm") == digest(kernel / "extism-runtime.wasm")


def test_nuspec_is_well_formed_and_names_every_content_type(packages: Path) -> None:
    members = read_members(only(packages / "nuget", "*.nupkg"))
    nuspec = next(member for member in members if member.name.endswith(".nuspec"))
    assert parse_xml(nuspec.data).tag.endswith("package")
    types = find_member(members, "[Content_Types].xml")
    assert types is not None
    declared = {entry.get("Extension") or entry.get("PartName") for entry in parse_xml(types.data)}
    for member in members[1:]:
        assert member.name.rsplit(".", 1)[-1] in declared or f"/{member.name}" in declared, member.name


def test_altered_staged_kernel_is_refused(tree: Path, build_tools: BuildTools, tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy)
    module = copy / "extism_kernel_pkg" / "extism-runtime.wasm"
    module.write_bytes(module.read_bytes() + b"\0\x02\x01x")
    done = build_tools(copy, "package", "npm", "--out", tmp_path / "out", check=False)
    assert done.returncode == 5
    assert "error[kernel-altered]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_missing_kernel_is_refused_with_the_remedy(
    checkout: Path, build_tools: BuildTools, tmp_path: Path
) -> None:
    done = build_tools(checkout, "package", "npm", "--out", tmp_path / "out", check=False)
    assert done.returncode == 5
    assert "error[kernel-not-staged]" in done.stderr
    assert "python -m build_tools kernel" in done.stderr
