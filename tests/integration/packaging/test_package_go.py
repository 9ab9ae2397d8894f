"""The Go module is fetched from its proxy files, vetted and tested, and embeds the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.packaging.clients import need
from tests.integration.packaging.support import digest, find_only, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

MAIN = """package main

import (
	"os"

	kernel "{module}"
)

func main() {{
	module := kernel.Context
	if os.Args[1] == "core" {{
		module = kernel.Core
	}}
	if kernel.Version == "" || len(kernel.Info) == 0 {{
		os.Exit(1)
	}}
	os.Stdout.Write(module)
}}
"""


def environment(packages: Path, cache: Path) -> dict[str, str]:
    return {
        "GOPROXY": (packages / "go" / "proxy").as_uri(),
        "GONOSUMDB": "*",
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOMODCACHE": str(cache),
        "GOTOOLCHAIN": "local",
    }


def module_of(packages: Path) -> tuple[str, str]:
    """Return the module's path and its version."""
    path = (packages / "go" / "extism-kernel-go" / "go.mod").read_text().split()[1]
    return path, find_only(packages / "go" / "proxy", "**/*.zip").stem


def test_module_is_formatted_vetted_and_tested(packages: Path, tmp_path: Path) -> None:
    go = need("go", "apt-get install golang")
    source = packages / "go" / "extism-kernel-go"
    env = environment(packages, tmp_path / "cache")
    assert run(need("gofmt", "apt-get install golang"), "-l", ".", cwd=source).stdout == ""
    run(go, "vet", "./...", cwd=source, env=env)
    run(go, "test", "./...", cwd=source, env=env)


def test_module_is_fetched_from_its_proxy_files(packages: Path, kernel: Path, tmp_path: Path) -> None:
    go = need("go", "apt-get install golang")
    module, version = module_of(packages)
    env = environment(packages, tmp_path / "cache")
    (tmp_path / "go.mod").write_text("module use\n\ngo 1.18\n")
    (tmp_path / "main.go").write_text(MAIN.format(module=module))
    run(go, "get", f"{module}@latest", cwd=tmp_path, env=env)
    assert f"{module} {version}" in (tmp_path / "go.mod").read_text()
    run(go, "build", "-o", "use-it", ".", cwd=tmp_path, env=env)
    for flavour, name in (("context", "extism-runtime.wasm"), ("core", "extism-runtime-core.wasm")):
        run("sh", "-c", f"./use-it {flavour} > out.wasm", cwd=tmp_path)
        assert digest(tmp_path / "out.wasm") == digest(kernel / name)


def test_fetched_module_is_whole(packages: Path, tmp_path: Path) -> None:
    """`go mod verify` hashes what was unpacked; the README and the licence came along."""
    go = need("go", "apt-get install golang")
    module, version = module_of(packages)
    env = environment(packages, tmp_path / "cache")
    (tmp_path / "go.mod").write_text(f"module use\n\ngo 1.18\n\nrequire {module} {version}\n")
    run(go, "mod", "download", module, cwd=tmp_path, env=env)
    assert "all modules verified" in run(go, "mod", "verify", cwd=tmp_path, env=env).stdout
    unpacked = {path.name for path in (tmp_path / "cache" / f"{module}@{version}").iterdir()}
    assert unpacked == {path.name for path in (packages / "go" / "extism-kernel-go").iterdir()}
    assert {"README.md", "LICENSE", "go.mod"} <= unpacked
