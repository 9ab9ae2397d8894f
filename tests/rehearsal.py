"""A whole release to registries on this machine: `python -m build_tools campaign rehearsal [FOLDER]`.

It releases a scratch checkout: builds, builds again and compares, uploads to each registry until that fails
midway, goes on, takes the package back with the registry's own client, and compares the digests. NuGet's
package is read from its feed, without a client. A client that the machine lacks is named; with `--require`
that is a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.kernel.version import read_version, to_pep440
from tests.integration.packaging.npm_registry import make_handler
from tests.integration.packaging.package_index import PASSWORD, USER
from tests.integration.packaging.support import find_only, make_checkout, run, run_build_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLAVOURS = {"context": "extism-runtime.wasm", "core": "extism-runtime-core.wasm"}
HERE = Path(__file__).resolve().parent
Digests = dict[str, str]


class RehearsalError(Exception):
    """A registry gave back other bytes, or took what it should not."""


class Rehearsal:
    """One scratch release: `root` holds `packages` and the registries.

    `checkout` has a staged kernel; `dist` holds the distributions, `rebuilt` the sums of a second build.
    """

    def __init__(self, root: Path, *, checkout: Path, dist: Path, rebuilt: Path) -> None:
        self.root, self.checkout, self.dist, self.rebuilt = root, checkout, dist, rebuilt
        self.packages = root / "packages"
        self.version = read_version(checkout / "kernel-src" / "Cargo.toml")
        staged = checkout / "extism_kernel_pkg"
        self.digests = {flavour: _digest((staged / name).read_bytes()) for flavour, name in FLAVOURS.items()}

    def pack(self, name: str) -> Path:
        """Make the package of one ecosystem, and return the folder that it is in."""
        out = self.packages / name
        run_build_tools(self.checkout, "package", name, "--out", out)
        return out

    def pypi(self) -> Digests:
        """Upload with `publish` to an index that fails after one file; install with pip."""
        with _index(self.root / "pypi") as (url, folder):
            command: list[str | Path] = [
                "publish",
                "--dist",
                self.dist,
                "--rebuilt",
                self.rebuilt,
            ]
            command += ["--index", f"{url}/legacy/", "--simple", f"{url}/simple"]
            env = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}
            (folder / "refuse-after").write_text("1")
            _expect(
                run_build_tools(self.checkout, *command, check=False, env=env).returncode == 4, "pypi: whole"
            )
            (folder / "refuse-after").unlink()
            run_build_tools(self.checkout, *command, env=env)
            target = self.root / "pypi-installed"
            wanted = f"extism-kernel=={to_pep440(self.version)}"
            options: list[str | Path] = ["--index-url", f"{url}/simple", "--target", target, wanted]
            run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", *options, cwd=self.root)
        return _files(target / "extism_kernel_pkg")

    def npm(self) -> Digests:
        """Publish with npm to a registry that fails at first; install with npm."""
        npm, project = _need("npm"), self.root / "npm-project"
        project.mkdir()
        handler = make_handler(failures=1)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            at = f"127.0.0.1:{server.server_address[1]}"
            settings = f"registry=http://{at}/\n//{at}/:_authToken=rehearsal\nfetch-retries=0\n"
            (project / ".npmrc").write_text(settings + f"cache={self.root / 'npm-cache'}\n")
            (project / "package.json").write_text('{"private": true}\n')
            tarball = find_only(self.pack("npm"), "*.tgz")
            publish: list[str | Path] = [npm, "publish", "--tag", "rehearsal", tarball]
            _expect(run(*publish, cwd=project, check=False).returncode != 0, "npm: taken while out of order")
            run(*publish, cwd=project)
            _expect(run(*publish, cwd=project, check=False).returncode != 0, "npm: taken twice")
            wanted = f"extism-kernel@{self.version}"
            run(npm, "install", "--no-audit", "--no-fund", wanted, cwd=project)
        finally:
            server.shutdown()
            server.server_close()
        return _files(project / "node_modules" / "extism-kernel")

    def maven(self) -> Digests:
        """Fill a repository of files; read the jar that its checksum names."""
        repository = self.root / "maven"
        _fill(self.pack("maven") / "repository", repository)
        jar = next(
            path for path in repository.rglob("*.jar") if not path.stem.endswith(("-sources", "-javadoc"))
        )
        recorded = jar.with_name(f"{jar.name}.sha256").read_text().split()[0]
        _expect(recorded == _digest(jar.read_bytes()), "maven: the checksum is another's")
        return _members(jar)

    def go(self) -> Digests:
        """Fill a proxy of files; fetch with go."""
        go, project, proxy = _need("go"), self.root / "go-project", self.root / "go"
        project.mkdir()
        _fill(self.pack("go") / "proxy", proxy)
        archive = find_only(proxy, "**/*.zip")
        module = archive.relative_to(proxy).as_posix().split("/@v/")[0]
        (project / "go.mod").write_text("module use\n\ngo 1.18\n")
        env = {"GOPROXY": proxy.as_uri(), "GONOSUMDB": "*", "GOTOOLCHAIN": "local"}
        env |= {"GOMODCACHE": str(self.root / "go-cache"), "GOFLAGS": "-mod=mod -modcacherw"}
        run(go, "get", f"{module}@{archive.stem}", cwd=project, env=env)
        return _files(self.root / "go-cache" / f"{module}@{archive.stem}")

    def cargo(self) -> Digests:
        """Fill a registry of files; fetch with cargo, which checks the digest of the index."""
        cargo, project, registry = _need("cargo"), self.root / "cargo-project", self.root / "cargo"
        crate, name = find_only(self.pack("crate"), "*.crate"), "extism-kernel-wasm"
        line = {"name": name, "vers": self.version, "deps": [], "features": {}, "yanked": False}
        line["cksum"] = _digest(crate.read_bytes())
        source = self.root / "cargo-upload"
        entry = source / "index" / name[:2] / name[2:4] / name
        entry.parent.mkdir(parents=True)
        entry.write_text(json.dumps(line) + "\n")
        shutil.copy(crate, source / crate.name)
        _fill(source, registry)
        (project / "src").mkdir(parents=True)
        (project / "src" / "lib.rs").write_text("")
        manifest = (
            '[package]\nname = "use"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
        )
        (project / "Cargo.toml").write_text(f'{manifest}{name} = "={self.version}"\n')
        (project / ".cargo").mkdir()
        (project / ".cargo" / "config.toml").write_text(
            '[source.crates-io]\nreplace-with = "files"\n'
            f"[source.files]\nlocal-registry = {json.dumps(str(registry))}\n"
        )
        home = self.root / "cargo-home"
        run(cargo, "fetch", "--quiet", cwd=project, env={"CARGO_HOME": str(home)})  # `vendor` asks crates.io
        return _files(home / "registry" / "src")

    def nuget(self) -> Digests:
        """Fill a folder feed; read the package that lies there."""
        feed = self.root / "nuget"
        _fill(self.pack("nuget"), feed)
        return _members(find_only(feed, "*.nupkg"))


def build(root: Path) -> Rehearsal:
    """Make a checkout, everything in it once, and the distributions a second time."""
    checkout, dist, rebuilt = make_checkout(root / "checkout"), root / "dist", root / "rebuilt.sums"
    run_build_tools(checkout, "kernel")
    prebuilt = checkout / "extism_kernel_pkg" / FLAVOURS["context"]
    run_build_tools(checkout, "wheel", "--out", dist, "--prebuilt", prebuilt)
    again: list[str | Path] = ["reproduce", "--prebuilt", prebuilt, "--against", dist]
    run_build_tools(checkout, *again, "--sums", rebuilt)
    return Rehearsal(root, checkout=checkout, dist=dist, rebuilt=rebuilt)


def rehearse(rehearsal: Rehearsal, *, is_strict: bool) -> list[str]:
    """Rehearse all registries, and return those whose client is not there."""
    registries: list[Callable[[], Digests]] = [
        rehearsal.pypi,
        rehearsal.npm,
        rehearsal.maven,
        rehearsal.go,
        rehearsal.cargo,
        rehearsal.nuget,
    ]
    left_out = []
    for registry in registries:
        try:
            found = registry()
        except FileNotFoundError as error:
            if is_strict:
                raise
            left_out.append(f"{registry.__name__}: {error}")
            continue
        _expect(found == rehearsal.digests, f"{registry.__name__}: {found}, not {rehearsal.digests}")
        print(f"{registry.__name__}: broken midway, resumed, taken back; the digests are the same")
    return left_out


def _fill(source: Path, target: Path) -> None:
    """Copy what a registry of files lacks: a part at first, then the rest, then nothing."""
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    for first in (max(1, len(names) // 2), len(names), len(names)):
        for name in names[:first]:
            there = target / name
            if there.exists():
                _expect(
                    there.read_bytes() == (source / name).read_bytes(), f"{name} is there with other bytes"
                )
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, there)


@contextmanager
def _index(folder: Path) -> Iterator[tuple[str, Path]]:
    folder.mkdir()
    program = [sys.executable, "-m", "tests.integration.packaging.package_index", str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as server:
        if server.stdout is None:
            raise AssertionError(program)
        try:
            yield server.stdout.readline().strip(), folder
        finally:
            server.terminate()


def _need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"`{program}` is not on PATH")
    return found


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RehearsalError(otherwise)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(folder: Path) -> Digests:
    paths = {flavour: next(iter(sorted(folder.rglob(name))), None) for flavour, name in FLAVOURS.items()}
    return {flavour: _digest(path.read_bytes()) for flavour, path in paths.items() if path is not None}


def _members(archive: Path) -> Digests:
    with zipfile.ZipFile(archive) as file:
        names = {
            flavour: [each for each in file.namelist() if each.endswith(f"/{name}")]
            for flavour, name in FLAVOURS.items()
        }
        return {flavour: _digest(file.read(found[0])) for flavour, found in names.items() if found}


def main() -> int:
    """Run it as a program."""
    parser = argparse.ArgumentParser(prog="python -m build_tools campaign rehearsal", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--require", action="store_true", help="a client that is missing is a failure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="extism-kernel-rehearsal-") as name:
        rehearsal = build((args.folder or Path(name)).resolve())
        left_out = rehearse(rehearsal, is_strict=args.require)
    for reason in left_out:
        print(f"left out: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
