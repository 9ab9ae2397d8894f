"""What hostile plug-ins get, beside PyPI's `extism`: `python -m build_tools campaign host-attacks`.

Each runs in a process of its own, which is ended after 20 seconds. CPU time and peak memory are those of the
call, the compilation left out, so far as the process tells them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import registries
from .conftest import wat_path
from .test_limits import ATTACKS, RECURSION

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20
NAMES = (*ATTACKS, "open-files", "pipe-in-a-folder", "recursion-in-a-small-thread")
OURS_ONLY = {
    "memory64-without-limit": "not run: it would take all memory",
    "fuel": "has no such option here",
    "fuel-in-a-start-function": "has no such option here",
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One call that is an attack."""

    module: bytes
    export: str = "f"
    data: bytes = b""
    manifest: dict[str, Any] = field(default_factory=dict)
    fuel_limit: int | None = None
    stack: int = 0
    """Bytes of the stack of a thread that makes the call; 0 makes it in the main thread."""


def prepare(name: str, folder: Path) -> Trial:
    """Return an attack, with what it needs put into an empty folder."""
    if name in ATTACKS:
        attack = ATTACKS[name]
        module = assemble(f"(module {attack.module})")
        return Trial(module=module, manifest=attack.manifest, fuel_limit=attack.fuel_limit)
    if name == "recursion-in-a-small-thread":
        return Trial(module=assemble(RECURSION), stack=512 * 1024)
    (folder / "file").write_text("content")
    os.mkfifo(folder / "pipe")
    export, path = {"open-files": ("hoard", b"file"), "pipe-in-a-folder": ("open_read", b"pipe")}[name]
    files = assemble(wat_path("files").read_text(encoding="utf-8"))
    manifest = {"allowed_paths": {str(folder): "/"}, "timeout_ms": 1000}
    return Trial(module=files, export=export, data=path, manifest=manifest)


def attack_here(which: str, name: str) -> dict[str, Any]:
    """Run one attack in this process; return how it ended and what it got."""
    with tempfile.TemporaryDirectory() as folder:
        trial = prepare(name, Path(folder))
        manifest: dict[str, Any] = {"wasm": [{"data": trial.module}], **trial.manifest}
        if which == "ours":
            from extism_kernel_pkg.host import Plugin  # noqa: PLC0415 - one host in a process

            plugin: Any = Plugin(manifest, fuel_limit=trial.fuel_limit)
        else:
            plugin = importlib.import_module("extism").Plugin(manifest, wasi=True)
        memory, files, began = peak_mib(), count_files(), time.process_time()
        ends: list[str] = []

        def run() -> None:
            try:
                plugin.call(trial.export, trial.data)
                ends.append("came back")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                ends.append(str(error).strip().splitlines()[-1][:60])

        if trial.stack:
            threading.stack_size(trial.stack)
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        else:
            run()
        end = f"{count_files() - files} files left open" if name == "open-files" else ends[0]
        return {"end": end, "seconds": time.process_time() - began, "mib": peak_mib() - memory}


def count_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def assemble(text: str) -> bytes:
    from wasmtime import wat2wasm  # noqa: PLC0415 - their process has another

    return bytes(wat2wasm(text))


def attack_apart(which: str, name: str) -> str:
    """Run one attack in another process; return a line about it."""
    if which == "theirs" and name in OURS_ONLY:
        return OURS_ONLY[name]
    path = [str(registries.python_sdk())] if which == "theirs" else []
    code = (
        f"import json, sys; sys.path[:0] = {path!r}; from tests.host.attacks import attack_here;"
        f"print(json.dumps(attack_here({which!r}, {name!r})))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"still running after {SECONDS} s"
    if done.returncode != 0:
        return f"the process ended with {done.returncode}"
    got = json.loads(done.stdout)
    return f"{got['end']} ({got['seconds']:.2f} s CPU, {got['mib']:.0f} MiB)"


def report(name: str) -> Iterator[str]:
    """Run one attack on both hosts; return lines about it."""
    yield name
    for which in ("ours", "theirs"):
        yield f"  {which + ':':8}{attack_apart(which, name)}"


def main() -> int:
    """Print what each attack gets on both hosts."""
    parser = argparse.ArgumentParser(prog="python -m build_tools campaign host-attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(NAMES)}; default: all")
    names = parser.parse_args().attacks
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"there is no attack {', '.join(unknown)}")
    for name in names or NAMES:
        for line in report(name):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
