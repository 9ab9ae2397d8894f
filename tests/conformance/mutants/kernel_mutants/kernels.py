"""Kernels to try the cases on: the staged one, and one that an SDK carries."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

SUITE = Path(__file__).resolve().parents[2]
STAGED = SUITE.parent.parent / "extism_kernel_pkg" / "extism-runtime.wasm"
GO_SDK = "github.com/extism/go-sdk@v1.7.1"
"""Pinned, because the list of its known failures speaks of one kernel only."""
_PATIENCE = 60.0
"""Seconds for the download."""


class KernelNotFoundError(Exception):
    """A kernel cannot be had on this machine; the text ends with the command that would get it."""


def find_staged_kernel() -> Path:
    """Return the kernel that the build staged. Raises KernelNotFoundError."""
    if not STAGED.is_file():
        raise KernelNotFoundError("no staged kernel: run `python -m build_tools kernel`")
    return STAGED


def fetch_sdk_kernel() -> Path:
    """Return the kernel that the Go SDK carries, fetched by Go's own client. Raises KernelNotFoundError."""
    go = shutil.which("go")
    if go is None:
        raise KernelNotFoundError("`go` is not on PATH: run `apt-get install golang`")
    command = [go, "mod", "download", "-json", GO_SDK]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE, cwd=SUITE
        )
    except subprocess.TimeoutExpired:
        raise KernelNotFoundError(
            f"no answer in {_PATIENCE:.0f} s: run `{' '.join(command)}` online"
        ) from None
    if done.returncode != 0:
        raise KernelNotFoundError(f"the download failed: run `{' '.join(command)}` online")
    return Path(json.loads(done.stdout)["Dir"]) / "extism-runtime.wasm"
