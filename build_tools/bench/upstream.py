"""Brings the kernel in use before this one, from a package registry, into the user's cache.

It is read where the registry's own client keeps it and never copied: it is not ours to hand on.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_tools.base import files
from build_tools.base.errors import BuildToolsError, ExitCode
from build_tools.base.process import run

if TYPE_CHECKING:
    from collections.abc import Callable

GO_MODULE = "github.com/extism/go-sdk@v1.7.1"
CRATE, CRATE_VERSION = "extism", "1.41.0"
FILENAME = "extism-runtime.wasm"
SHA256 = "d1389b31abecf23eec65b4430d86f99f736aeb05c40948dbbe2f88cb17815803"
"""Both packages carry these bytes."""
TIMEOUT_SECONDS = 200.0
REMEDY = "install Go (https://go.dev/dl) or Rust (https://rustup.rs), or name a file: `--against FILE`"


class UpstreamError(BuildToolsError):
    """The kernel to compare with could not be fetched."""

    code = "upstream-not-found"
    exit_code = ExitCode.TOOLCHAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The kernel in use before this one; `origin` is the package that carries it."""

    origin: str
    data: bytes


def fetch_upstream(cache: Path) -> Upstream:
    """Return upstream's kernel, fetched by `go` or, without it, by `cargo`, and checked by its digest.

    Raises UpstreamError if there is no client, if none could fetch it, or if it is not the known kernel.
    """
    tried: list[str] = []
    clients: tuple[tuple[str, str, Callable[[str, Path], Path]], ...] = (
        ("go", f"Go module {GO_MODULE}", _fetch_with_go),
        ("cargo", f"crate {CRATE} {CRATE_VERSION}", _fetch_with_cargo),
    )
    for client, origin, fetch in clients:
        program = shutil.which(client)
        if program is None:
            tried.append(f"`{client}` is not on PATH")
            continue
        try:
            path = fetch(program, files.make_folder(cache))
            return Upstream(origin=origin, data=_read(path))
        except BuildToolsError as error:
            tried.append(f"{origin}: {error.message}")
    lines = "".join(f"\n  - {line}" for line in tried)
    raise UpstreamError(f"upstream's kernel could not be fetched{lines}", hint=REMEDY)


def _read(path: Path) -> bytes:
    data = files.read_bounded(path)
    digest = files.sha256_of(data)
    if digest != SHA256:
        # Its folder is the client's, and may be read-only; it will be unpacked again.
        folder = shlex.quote(str(path.parents[1] if path.parent.name == "src" else path.parent))
        fix = f"`chmod -R u+w {folder} && rm -r {folder}`"
        raise UpstreamError(f"its kernel has digest {digest}, should be {SHA256}; remove it: {fix}")
    return data


def _fetch_with_go(go: str, cache: Path) -> Path:
    # In the cache, which is no Go module: the version named here is then the one that is fetched.
    answer = run(
        [go, "mod", "download", "-json", GO_MODULE],
        cwd=cache,
        env={"GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": ""},
        timeout=TIMEOUT_SECONDS,
    )
    try:
        return Path(json.loads(answer)["Dir"]) / FILENAME
    except (ValueError, KeyError, TypeError):
        raise UpstreamError("`go mod download` did not say where the module is") from None


def _fetch_with_cargo(cargo: str, cache: Path) -> Path:
    # `cargo info` fetches this one crate; `cargo fetch` would fetch all that it depends on.
    run([cargo, "info", "--quiet", f"{CRATE}@{CRATE_VERSION}"], cwd=cache, timeout=TIMEOUT_SECONDS)
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    found = sorted(home.glob(f"registry/src/*/{CRATE}-{CRATE_VERSION}/src/{FILENAME}"))
    if not found:
        raise UpstreamError("cargo did not unpack the crate", where=str(home / "registry" / "src"))
    return found[0]
