"""Builds the adapter into a folder, on the kernel that the SDK embeds or on another one.

    python build.py FOLDER [KERNEL]

Go takes no overlay for a file of its module cache: the module is copied, the kernel's file changed in the
copy, and `replace` points to it. The adapter is told the digest of the file that the compiler embeds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = "github.com/extism/go-sdk"
FILENAME = "extism-runtime.wasm"
HERE = Path(__file__).resolve().parent


def run(*argv: str) -> str:
    """Run `go` beside this file; what it says against it goes to where the build is logged."""
    argv = (shutil.which("go") or "go", *argv)
    return subprocess.run(argv, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Build. Ends with an exception's text if `go` fails."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    run("mod", "download")
    module = Path(json.loads(run("list", "-m", "-json", MODULE))["Dir"])
    options: list[str] = []
    if sys.argv[2:]:
        copy = folder / "go-sdk"
        if copy.exists():
            shutil.rmtree(copy)
        shutil.copytree(module, copy, copy_function=shutil.copyfile)
        for each in (copy, *copy.rglob("*")):  # the module cache is read-only
            each.chmod(0o755 if each.is_dir() else 0o644)
        shutil.copyfile(sys.argv[2], copy / FILENAME)
        digest = hashlib.sha256((copy / FILENAME).read_bytes()).hexdigest()
        note = f"This copy was changed: its kernel was replaced by the one with the sha256 {digest}.\n"
        (copy / "CHANGED.txt").write_text(note, encoding="utf-8")
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(HERE / name, folder / name)
        run("mod", "edit", f"-replace={MODULE}={copy}", str(folder / "go.mod"))
        options = [f"-modfile={folder / 'go.mod'}"]
        module = copy
    digest = hashlib.sha256((module / FILENAME).read_bytes()).hexdigest()
    run("build", *options, f"-ldflags=-X main.kernel={digest}", "-o", str(folder / "adapter"), ".")


if __name__ == "__main__":
    main()
