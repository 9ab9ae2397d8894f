"""The npm package passes npm's checkers, and gives the kernel in every runtime and through every bundler."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from build_tools.base.archive import Member, make_tar_gz, parse_tar_gz
from tests.integration.packaging.clients import need, npm_tools
from tests.integration.packaging.support import digest, find_only, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

USE = """
import { contextBytes, coreBytes, version } from "extism-kernel";
const hex = async (data) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", data)),
                                       (byte) => byte.toString(16).padStart(2, "0")).join("");
for (const bytes of [contextBytes(), coreBytes()]) {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    if (instance.exports.alloc(8n) === 0n) throw new Error("no memory");
    console.log(await hex(bytes));
}
if (!version) throw new Error("no version");
"""
USE_FILES = """
import { readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { contextUrl, coreUrl } from "extism-kernel/url";
for (const url of [contextUrl, coreUrl]) {
    console.log(createHash("sha256").update(await readFile(url)).digest("hex"));
}
"""
# What a bundler leaves of the `url` entry is a file beside the program.
COPY_FILES = """
import { contextUrl, coreUrl } from "extism-kernel/url";
console.log(contextUrl.href, coreUrl.href);
"""
TYPED = """
import { contextBytes, version, type ContextExports, type CoreExports } from "extism-kernel";
import { contextUrl } from "extism-kernel/url";
import { alloc, extism_alloc, memory } from "extism-kernel/extism-runtime-core.wasm";
const { instance } = await WebAssembly.instantiate(contextBytes(), {});
const context = instance.exports as unknown as ContextExports;
const global: WebAssembly.Global = context.extism_context;
const core: CoreExports = context;
const block: bigint = core.alloc(5n) + alloc(5n) + extism_alloc(1n);
const byte: number = core.load_u8(block);
core.store_u8(block, byte);
const url: URL = contextUrl;
export { block, byte, global, memory, url, version };
"""


@pytest.fixture(scope="module")
def tarball(packages: Path) -> Path:
    return find_only(packages / "npm", "*.tgz")


@pytest.fixture(scope="module")
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean project that depends on the package."""
    folder = tmp_path_factory.mktemp("npm-project")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm = need("npm", "apt-get install npm")
    run(npm, "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", tarball, cwd=folder)
    (folder / "use.js").write_text(USE)
    (folder / "files.js").write_text(USE_FILES)
    (folder / "copy.js").write_text(COPY_FILES)
    return folder


@pytest.fixture(scope="module")
def digests(kernel: Path) -> list[str]:
    return [digest(kernel / name) for name in ("extism-runtime.wasm", "extism-runtime-core.wasm")]


def printed(program: str | Path, *arguments: str | Path, cwd: Path) -> list[str]:
    return run(program, *arguments, cwd=cwd).stdout.split()


def test_package_gives_bytes_and_files_in_node(project: Path, digests: list[str]) -> None:
    node = need("node", "apt-get install nodejs")
    assert printed(node, "use.js", cwd=project) == digests
    assert printed(node, "files.js", cwd=project) == digests


@pytest.mark.parametrize(
    "command", [("deno", "run", "--no-prompt"), ("bun", "run")], ids=lambda command: str(command[0])
)
def test_package_gives_bytes_in_runtime(command: tuple[str, ...], project: Path, digests: list[str]) -> None:
    assert printed(npm_tools() / command[0], *command[1:], "use.js", cwd=project) == digests


def test_package_is_taken_for_a_repository_by_provenance(tarball: Path) -> None:
    """npm compares `repository.url` with the repository that the signing job ran in."""
    members = {member.name: member.data for member in parse_tar_gz(tarball.read_bytes(), tarball.name)}
    manifest: dict[str, Any] = json.loads(members["package/package.json"])
    assert manifest["repository"]["type"] == "git"
    assert manifest["repository"]["url"].startswith("git+https://github.com/")
    assert manifest["repository"]["url"].endswith(".git")
    assert {"author", "bugs", "homepage", "keywords", "license"} <= manifest.keys()


def test_prerelease_does_not_become_the_latest_version(tarball: Path) -> None:
    members = {member.name: member.data for member in parse_tar_gz(tarball.read_bytes(), tarball.name)}
    manifest: dict[str, Any] = json.loads(members["package/package.json"])
    assert manifest["publishConfig"] == {"tag": "next" if "-" in manifest["version"] else "latest"}


def test_npm_packs_the_package_again_without_complaint(tarball: Path, tmp_path: Path) -> None:
    npm = need("npm", "apt-get install npm")
    (packed,) = json.loads(run(npm, "pack", "--json", "--dry-run", tarball, cwd=tmp_path).stdout)
    ours = {member.name.removeprefix("package/") for member in parse_tar_gz(tarball.read_bytes(), "tgz")}
    assert {entry["path"] for entry in packed["files"]} == ours


def test_npm_would_publish_the_package_without_correcting_it(tarball: Path, tmp_path: Path) -> None:
    npm = need("npm", "apt-get install npm")
    done = run(npm, "publish", "--dry-run", tarball, cwd=tmp_path, check=False)
    assert "must specify a tag" not in done.stderr, "a pre-release would become the latest version"
    if "ENEEDAUTH" not in done.stderr and done.returncode != 0:
        pytest.skip(f"npm cannot ask its registry: {done.stderr[-200:]}")
    assert "auto-corrected" not in done.stderr


def test_publint_finds_nothing(tarball: Path, tmp_path: Path) -> None:
    run(npm_tools() / "publint", tarball, "--strict", cwd=tmp_path)


def test_publint_finds_a_missing_file(tarball: Path, tmp_path: Path) -> None:
    members = parse_tar_gz(tarball.read_bytes(), tarball.name)
    broken = tmp_path / "broken.tgz"
    kept = [Member(name=each.name, data=each.data) for each in members if not each.name.endswith("/url.js")]
    broken.write_bytes(make_tar_gz(kept, epoch=0))
    assert run(npm_tools() / "publint", broken, "--strict", cwd=tmp_path, check=False).returncode != 0


def test_types_are_right_for_every_entry(tarball: Path, tmp_path: Path) -> None:
    run(npm_tools() / "attw", tarball, "--profile", "esm-only", cwd=tmp_path)


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_typescript_compiles_a_user_strictly(resolution: str, project: Path) -> None:
    (project / "typed.mts").write_text(TYPED)
    options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "esnext", "--types", ""]
    options += ["--module", "nodenext" if resolution == "nodenext" else "esnext", "--lib", "esnext,dom"]
    options += ["--moduleResolution", resolution, "--allowArbitraryExtensions", "typed.mts"]
    run(npm_tools() / "tsc", *options, cwd=project)


def test_typescript_refuses_a_wrong_type(project: Path) -> None:
    (project / "wrong.mts").write_text(TYPED.replace("core.alloc(5n)", "core.alloc(5)"))
    options = ["--noEmit", "--strict", "--target", "esnext", "--module", "nodenext", "--lib", "esnext,dom"]
    done = run(npm_tools() / "tsc", *options, "--types", "", "wrong.mts", cwd=project, check=False)
    assert "TS2345" in done.stdout


BUNDLERS = {
    "esbuild": (
        "esbuild",
        "{entry}",
        "--bundle",
        "--format=esm",
        "--outfile={out}/main.mjs",
        "--log-limit=0",
    ),
    "vite": ("vite", "build", "--config", "vite.config.mjs", "--logLevel", "error"),
    "webpack": ("webpack", "--config", "webpack.config.mjs"),
}
VITE = """
export default {{ build: {{ outDir: "{out}", target: "esnext", assetsInlineLimit: 0, minify: false,
  lib: {{ entry: "{entry}", formats: ["es"], fileName: () => "main.mjs" }} }} }};
"""
WEBPACK = """
export default {{ mode: "development", devtool: false, target: "es2022", entry: "./{entry}",
  experiments: {{ outputModule: true }},
  output: {{ path: "{out}", filename: "main.mjs", module: true, library: {{ type: "module" }},
             publicPath: "auto" }} }};
"""


def bundle(name: str, entry: str, project: Path, out: Path) -> Path:
    """Bundle a program of the project into a folder with nothing else, and return the bundle."""
    values = {"entry": entry, "out": str(out)}
    (project / "vite.config.mjs").write_text(VITE.format(**values))
    (project / "webpack.config.mjs").write_text(WEBPACK.format(**values))
    program, *arguments = (part.format(**values) for part in BUNDLERS[name])
    out.mkdir()
    run(npm_tools() / program, *arguments, cwd=project, env={"NODE_ENV": "development"})
    return out / "main.mjs"


@pytest.mark.parametrize("name", BUNDLERS)
def test_bytes_come_through_bundler(name: str, project: Path, digests: list[str], tmp_path: Path) -> None:
    node = need("node", "apt-get install nodejs")
    made = bundle(name, "use.js", project, tmp_path / "out")
    assert [path.name for path in made.parent.iterdir()] == ["main.mjs"]
    assert printed(node, made, cwd=tmp_path) == digests


@pytest.mark.parametrize("name", ["vite", "webpack"])
def test_files_are_copied_by_bundler(name: str, project: Path, digests: list[str], tmp_path: Path) -> None:
    made = bundle(name, "copy.js", project, tmp_path / "out")
    copied = {digest(path) for path in made.parent.rglob("*.wasm")}
    inlined = made.read_text().count("data:application/wasm;base64,")
    assert copied == set(digests) or inlined == len(digests)


def test_bytes_come_to_a_browser(project: Path, digests: list[str], tmp_path: Path) -> None:
    browser = shutil.which("chromium") or need("google-chrome", "apt-get install chromium")
    page = USE.replace("console.log(", "document.body.append(' ', ")
    (project / "page.js").write_text(page)
    made = bundle("esbuild", "page.js", project, tmp_path / "out")
    text = made.read_text().replace("</script", "<\\/script")
    (tmp_path / "page.html").write_text(f"<body><script type=module>{text}</script>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    url = (tmp_path / "page.html").as_uri()
    done = run(browser, *options, "--virtual-time-budget=5000", "--dump-dom", url, cwd=tmp_path)
    assert " ".join(digests) in done.stdout, os.linesep.join(done.stdout.splitlines()[-5:])
